//! An outer loop with a duty of its own, a frame every so often, which drives one of ours between two frames.
//!
//! It needs two things of ours: the descriptor, which becomes readable when there is something to do, and how long it
//! may wait before a timer is due. glib, winit or an epoll of one's own take both the same way.

use loopscope_loop::mio::unix::SourceFd;
use loopscope_loop::mio::{Events, Interest, Poll, Token};
use loopscope_loop::{Loop, Mode};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Runs until `draw`, called with the number of each frame, returns `false`. Returns how often the outer loop turned.
///
/// # Errors
/// What the operating system says when a wait fails.
pub fn drive<S: 'static>(
    inner: &mut Loop<S>,
    every: Duration,
    mut draw: impl FnMut(&mut Loop<S>, u64) -> bool,
) -> io::Result<u64> {
    let mut outer = Poll::new()?;
    let descriptor = inner.as_raw_fd();
    outer.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(16);
    let (mut turns, mut frame, mut next) = (0, 0, Instant::now() + every);
    loop {
        // Also at the very start: what the main script began may be due, or not be waited for yet.
        let is_alive = inner.run(Mode::NoWait)?;
        if Instant::now() >= next {
            frame += 1;
            next += every;
            if !draw(inner, frame) {
                return Ok(turns);
            }
        }
        let to_frame = next.saturating_duration_since(Instant::now());
        // A loop that has nothing left does not wait: its time-out is zero. Its descriptor tells of posts even then.
        let inner_timeout = if is_alive { inner.backend_timeout() } else { None };
        let timeout = inner_timeout.map_or(to_frame, |timeout| timeout.min(to_frame));
        turns += 1;
        match outer.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => outcome?,
        }
    }
}
