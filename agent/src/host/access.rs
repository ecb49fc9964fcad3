//! What agents are shown that want a token, and by which signature one with TLS is believed to be one.
//!
//! An agent's address stands on a page, and whoever can write a page can write any address. So the token is shown only
//! where it cannot be collected: to agents whose page belongs to the user that the server runs as (and who could read
//! the file anyway), and to those that have proved with a certificate who they are. And a server that shows a token must
//! ask for something itself: else it would tell anybody on the host what agents tell for a token only.

use crate::host::state::Asked;
use crate::web::guard::Guard;
use crate::web::secure::Trust;
use crate::web::token::Token;
use hyper::header::HeaderValue;
use loopscope_probe::directory;
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

    /// Checks that nobody gets past the agents' token through a server with these rules.
    ///
    /// # Errors
    /// Everybody on this host, or more, could; with the remedy.
    pub(crate) fn check(&self, guard: &Guard) -> Result<(), String> {
        match self.token.is_some() && guard.is_open() {
            false => Ok(()),
            true => Err(format!(
                "with --token-file, whoever reaches this server at {} would see what agents tell for the token only: \
                 let it ask for one, too (--guard-token-file, which may be the same file), or listen at unix:PATH",
                guard.address
            )),
        }
    }

    /// Returns what to show to the agent of this process; `is_proved` says that it has a certificate of ours.
    pub(crate) fn shown_to(&self, process: &Asked, is_proved: bool) -> Option<HeaderValue> {
        let is_own = process.user == Some(directory::own_user());
        self.token.as_ref().filter(|_| is_own || is_proved).map(Token::header)
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
