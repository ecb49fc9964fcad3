//! You will see the classic order question, 1 6 5 4 2 3, answered by this loop and by Node.js beside it.

use loopscope_loop::{Loop, Mode};
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

/// The same program for Node.js. The last line makes the timer due before the loop begins: without it, Node itself
/// prints 2 and 3 in either order, depending on how long the script took.
const SCRIPT: &str = "\
console.log(1);
setTimeout(() => console.log(2), 0);
setImmediate(() => console.log(3));
Promise.resolve().then(() => console.log(4));
process.nextTick(() => console.log(5));
console.log(6);
for (const start = Date.now(); Date.now() < start + 3;);";

/// What Node.js v20 prints, for machines without it.
const RECORDED: &str = "1 6 5 4 2 3";

/// Why each number comes where it does.
const REASONS: [(u32, &str); 6] = [
    (1, "the script"),
    (6, "the script, to its end"),
    (5, "then the nextTick queue"),
    (4, "then the microtasks"),
    (2, "then the loop begins: timers that are due"),
    (3, "then the check phase: immediates"),
];

fn main() -> io::Result<()> {
    let ours = ours()?;
    let (node, whose) = match Command::new("node").args(["-e", SCRIPT]).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            (text.split_whitespace().collect::<Vec<_>>().join(" "), "Node.js on this machine")
        }
        _ => (RECORDED.to_owned(), "Node.js v20, recorded (there is no `node` here)"),
    };
    println!("{SCRIPT}\n");
    println!("this loop: {ours}");
    println!("node:      {node}   ({whose})\n");
    for (number, reason) in REASONS {
        println!("  {number}  {reason}");
    }
    println!("{}", if ours == node { "\nThe same order." } else { "\nThe orders differ!" });
    std::process::exit(i32::from(ours != node));
}

fn ours() -> io::Result<String> {
    let mut program = Loop::builder(Vec::new()).build()?;
    program.main(|cx| {
        cx.state.push(1);
        cx.after(Duration::ZERO, |cx| cx.state.push(2));
        cx.immediate(|cx| cx.state.push(3));
        cx.microtask(|cx| cx.state.push(4));
        cx.next_tick(|cx| cx.state.push(5));
        cx.state.push(6);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
    });
    program.run(Mode::Default)?;
    let order: Vec<String> = program.into_state().iter().map(u32::to_string).collect();
    Ok(order.join(" "))
}
