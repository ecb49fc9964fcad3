//! Line charts as SVG: small panels side by side, each with a logarithmic axis below; the one at the left
//! is linear where the values allow it.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 52.0;

/// Told apart also where colours are not: each line has a mark of its own.
const COLOURS: [&str; 4] = ["#0b6e4f", "#c2410c", "#1d4ed8", "#7c3aed"];

/// One panel.
pub struct Panel {
    pub title: String,
    pub below: String,
    pub left: String,
    pub lines: Vec<Line>,
}

/// One line: its name, and points in the order of x.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Draws panels side by side.
pub fn draw(panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let body = draw_panel(panel);
        writeln!(svg, "<g transform=\"translate({} 0)\">\n{body}</g>", at as f64 * WIDTH).expect("a string");
    }
    svg + "</svg>\n"
}

/// Where values lie.
struct Axes {
    x_first: f64,
    x_last: f64,
    y_first: f64,
    y_last: f64,
    /// Where values lie too far apart for a linear axis.
    is_log: bool,
}

impl Axes {
    fn of(lines: &[Line]) -> Axes {
        let points = || lines.iter().flat_map(|line| &line.points);
        let x_first = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let x_last = points().map(|(x, _)| *x).fold(0.0, f64::max);
        let y_least = points().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        let y_most = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let is_log = y_most > 20.0 * y_least;
        let y_first = if is_log { 10f64.powf(y_least.log10().floor()) } else { 0.0 };
        Axes { x_first, x_last, y_first, y_last: y_most * 1.05, is_log }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value / self.x_first).log10() / (self.x_last / self.x_first).log10();
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value / self.y_first).log10() / (self.y_last / self.y_first).log10(),
            false => value / self.y_last,
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// The grid line after one.
    fn y_next(&self, value: f64) -> f64 {
        if self.is_log { value * 10.0 } else { value + self.y_step() }
    }

    /// The distance of the grid's lines: 1, 2 or 5 times a power of ten, four to eight of them.
    fn y_step(&self) -> f64 {
        let power = 10f64.powf((self.y_last / 4.0).log10().floor());
        [5.0, 2.0, 1.0]
            .map(|times| times * power)
            .into_iter()
            .find(|step| self.y_last / step >= 4.0)
            .unwrap_or(power)
    }
}

fn draw_panel(panel: &Panel) -> String {
    let axes = Axes::of(&panel.lines);
    let mut svg = format!("<text x=\"12\" y=\"20\" font-weight=\"600\">{}</text>\n", panel.title);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut value = axes.y_first;
    while value <= axes.y_last {
        let y = axes.y(value);
        svg += &format!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\n");
        svg += &format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            y + 4.0,
            short(value)
        );
        value = axes.y_next(value);
    }
    let mut power = 10f64.powf(axes.x_first.log10().ceil());
    while power <= axes.x_last * 1.001 {
        let x = axes.x(power);
        svg += &format!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"#222\"/>\n");
        svg += &format!(
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 19.0,
            short(power)
        );
        power *= 10.0;
    }
    svg += &format!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"#222\"/>\n");
    let middle = (LEFT + right) / 2.0;
    svg += &format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
        HEIGHT - 12.0,
        panel.below
    );
    svg += &format!(
        "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (TOP + bottom) / 2.0,
        panel.left
    );
    for (at, line) in panel.lines.iter().enumerate() {
        svg += &draw_line(&axes, line, at);
    }
    svg
}

fn draw_line(axes: &Axes, line: &Line, at: usize) -> String {
    let colour = COLOURS[at % COLOURS.len()];
    let places: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| (axes.x(*x), axes.y(*y))).collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let mut svg = format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
        path.join(" ")
    );
    for (x, y) in places {
        svg += &mark(x, y, at, colour);
    }
    let x = LEFT + 8.0 + 112.0 * at as f64;
    svg + &mark(x, 42.0, at, colour) + &format!("<text x=\"{}\" y=\"46\">{}</text>\n", x + 9.0, line.name)
}

fn mark(x: f64, y: f64, at: usize, colour: &str) -> String {
    match at % 3 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>\n"),
        1 => format!("<path d=\"M{:.1} {:.1}h7v7h-7z\" fill=\"{colour}\"/>\n", x - 3.5, y - 3.5),
        _ => format!("<path d=\"M{x:.1} {:.1}l4.5 8h-9z\" fill=\"{colour}\"/>\n", y - 5.0),
    }
}

/// Writes thousands and millions short.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_put_the_first_value_at_the_left_and_zero_below() {
        let line = Line { name: "a".to_owned(), points: vec![(1.0, 10.0), (100.0, 20.0)] };
        let axes = Axes::of(&[line]);
        assert_eq!((axes.x(1.0), axes.x(100.0)), (LEFT, WIDTH - RIGHT));
        assert_eq!(axes.y(0.0), HEIGHT - BOTTOM);
        assert!((axes.x(10.0) - (LEFT + WIDTH - RIGHT) / 2.0).abs() < 1e-9 && axes.y_step() == 5.0);
    }
}
