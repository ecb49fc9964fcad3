//! What agents are shown that want a token, and by which signature one with TLS is believed to be one.
//!
//! An agent's address stands on a page, and whoever can write a page can write any address. So the token is shown only
//! where it cannot be collected: to agents whose page belongs to the user that the server runs as (and who could read
//! the file anyway), and to those that have proved with a certificate who they are.

use crate::host::state::Asked;
use crate::web::secure::Trust;
use crate::web::token::Token;
use hyper::header::HeaderValue;
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
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used; in words, with the remedy.
    pub(crate) fn read(files: &AccessFiles) -> Result<Access, String> {
        let token = files.token.as_deref().map(Token::read).transpose()?;
        let trust = files.authority.as_deref().map(Trust::read).transpose()?;
        Ok(Access { token, trust })
    }

    /// Returns what to show to the agent of this process; `is_proved` says that it has a certificate of ours.
    pub(crate) fn shown_to(&self, process: &Asked, is_proved: bool) -> Option<HeaderValue> {
        self.token.as_ref().filter(|_| process.is_own || is_proved).map(Token::header)
    }

    /// Says what to do about an agent that wants a token and was shown none.
    pub(crate) fn missing(&self) -> &'static str {
        match self.token {
            None => "wants a token, and this server was given none: start it with --token-file",
            Some(_) => {
                "wants a token, and is another user's: ours is shown to those only over https, with --ca-file"
            }
        }
    }
}
