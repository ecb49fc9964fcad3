//! Node's event loop in Rust on mio.
