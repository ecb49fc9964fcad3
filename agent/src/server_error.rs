//! Why there is no server, as the server's crate tells it.

pub use loopscope_http::ServerError;
