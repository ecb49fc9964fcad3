//! `loopscope healthy`: whether an agent answers, told by the exit code.

use crate::args::HealthyArguments;
use crate::endpoint::{Endpoint, is_url};
use crate::error::Failure;
use crate::http;
use crate::output::print;
use std::time::Duration;

/// Asks, and prints the first line of the answer.
///
/// # Errors
/// It is no URL of an agent, nobody answers there, or the answer is not 200.
pub fn run(options: &HealthyArguments) -> Result<(), Failure> {
    let url = options.url.trim_end_matches('/');
    if !is_url(url) {
        return Err(Failure::Usage(format!(
            "{url} is not the URL of an agent: write it as http://127.0.0.1:9464"
        )));
    }
    let answer = http::get(&Endpoint::given(url), "/-/healthy", Duration::ZERO)?;
    let line = answer.first_line();
    if answer.status != 200 {
        let because = format!("answered {}: {line}", answer.status);
        return Err(Failure::Remote { url: url.to_owned(), because });
    }
    print(&format!("{line}\n"))
}
