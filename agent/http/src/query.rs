//! The query of a URL: names and values. The parameters are parsed in `capture_request`, `thresholds`, `incidents` and `live`.

/// Splits a query into names and values; still encoded.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|pair| !pair.is_empty());
    parts.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Tells whether a name in a query is that of what a drawing's own script notes there: a frame that is zoomed in on, by its
/// corner, and what is searched for. They come along where somebody reloads the drawing or hands on its address. Where the
/// query was empty, the script of inferno 0.12 makes `=undefined` of that.
pub(crate) fn is_of_drawing(name: &str) -> bool {
    matches!(name, "x" | "y" | "s" | "")
}

/// Returns the text that a percent-encoded value stands for; what is no valid encoding stays as it is.
pub fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_split_and_values_decoded() {
        let found: Vec<_> = pairs("&a=1&&b&c=x=y").collect();
        assert_eq!(found, [("a", "1"), ("b", ""), ("c", "x=y")]);
        for (encoded, text) in
            [("worker%232", "worker#2"), ("a+b%20c", "a b c"), ("100%", "100%"), ("%zz%4", "%zz%4")]
        {
            assert_eq!(decoded(encoded), text);
        }
    }
}
