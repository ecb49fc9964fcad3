//! Making a pair of streams in memory: see [`memory`](crate::handles::memory).

use crate::core::What;
use crate::cx::Cx;
use crate::handles::memory::MemoryEnd;
use crate::handles::stream::Stream;
use crate::handles::transport::Transport;
use crate::key::Key;
use loopscope_probe::Kind;
use std::io;
use std::panic::Location;

impl<S: 'static> Cx<'_, S> {
    /// Makes a pair of connected streams in memory, for loops in virtual time: programs of streams are then tested
    /// without sockets, and go the same way in every run. Ends that become ready in one poll have their turns in the
    /// order in which they became so, or in one that [`Builder::seed`](crate::Builder::seed) chooses.
    ///
    /// # Errors
    /// `Unsupported` in real time: [`Cx::open_unix`] takes a pair of sockets there.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     cx.on_stream(server, |cx, _, event| {
    ///         if let StreamEvent::Data(bytes) = event {
    ///             cx.state.extend_from_slice(bytes);
    ///         }
    ///     });
    ///     cx.write(client, b"hello")?;
    ///     cx.shutdown(client);
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn memory_pair(&mut self) -> io::Result<(Key, Key)> {
        let at = Location::caller();
        let without = || io::Error::new(io::ErrorKind::Unsupported, "pairs in memory need virtual time");
        let world = self.core.world.clone().ok_or_else(without)?;
        let site = self.core.site(at, Kind::IoRead);
        let (one, other) = MemoryEnd::pair(&world);
        let [one, other] = [one, other].map(|end| {
            let set_token = end.token_setter();
            let stream = Stream::connected(Transport::Memory(end));
            let key = self.core.insert(site, What::Stream(Box::new(stream)));
            set_token(key.token());
            key
        });
        Ok((one, other))
    }
}
