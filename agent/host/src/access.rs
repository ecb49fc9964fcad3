//! What agents are shown that want a token, and by which signature one with TLS is believed to be one.
//!
//! An agent's address stands on a page, and whoever can write a page can write any address; and when an agent has ended,
//! another program may have its port. So the token is shown only to agents that have proved with a certificate who they
//! are. Those of the user that the server runs as need none: their socket files let it in. And a server that shows a
//! token must ask for something itself: else it would tell whoever looks like its own user, through a tunnel or a proxy,
//! what agents tell for a token only. For the same reason one that asks for nothing leaves the socket files alone.

use hyper::header::HeaderValue;
use loopscope_http::auth::Auth;
use loopscope_http::secure::Trust;
use loopscope_http::token::Token;
use std::path::PathBuf;

/// Where these are, as the program configured it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessFiles {
    pub token: Option<PathBuf>,
    pub authority: Option<PathBuf>,
}

/// These, read.
#[derive(Debug, Default)]
pub(crate) struct Access {
    token: Option<Token>,
    pub trust: Option<Trust>,
    /// The server's clients show nothing, so its agents are asked where they ask everybody for what they want.
    pub is_server_open: bool,
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used; in words, with the remedy.
    pub(crate) fn read(files: &AccessFiles) -> Result<Access, String> {
        let token = files.token.as_deref().map(Token::read).transpose()?;
        let trust = files.authority.as_deref().map(Trust::read).transpose()?;
        Ok(Access { token, trust, is_server_open: false })
    }

    /// Makes sure that nobody gets past the agents' token through a server with these rules.
    ///
    /// # Errors
    /// Somebody could; with the remedy.
    pub(crate) fn of_server(self, auth: &Auth) -> Result<Access, String> {
        let is_server_open = auth.is_open();
        match self.token.is_some() && is_server_open {
            false => Ok(Access { is_server_open, ..self }),
            true => Err(format!(
                "--token-file would let any process of this user, including tunnels and proxies, read at {} what \
                 agents protect with that token: also set --guard-token-file (it may be the same file), or listen \
                 on unix:PATH",
                auth.address
            )),
        }
    }

    /// Returns what to show to an agent that has a certificate of ours.
    pub(crate) fn shown_to_proved(&self) -> Option<HeaderValue> {
        self.token.as_ref().map(Token::header)
    }

    /// Says what to do about an agent that wants a token and was shown none; `is_proved` says that it has a certificate
    /// of ours.
    pub(crate) fn missing(is_proved: bool) -> &'static str {
        match is_proved {
            true => "agent requires a token: start serve with --token-file",
            false => {
                "agent requires a token, which serve sends only over TLS, to agents verified by --ca-file"
            }
        }
    }
}
