//! Whether what the environment says is to be believed.

use std::ffi::OsString;

/// Tells whether this process has only the rights of who started it. One that has more, by a set-user-ID bit or file
/// capabilities, must not listen, read or write where its caller's environment says.
pub fn is_trusted() -> bool {
    // SAFETY: reads a word that the kernel gave the process at its start.
    cfg!(miri) || unsafe { libc::getauxval(libc::AT_SECURE) } == 0
}

/// Returns a variable of the environment; `None` where it is not set, or the environment [is not trusted](is_trusted).
pub fn trusted_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|_| is_trusted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_no_more_rights_than_who_started_it() {
        assert!(is_trusted());
        assert_eq!(trusted_variable("PATH"), std::env::var_os("PATH"));
        assert_eq!(trusted_variable("LOOPSCOPE_NEVER_SET"), None);
    }
}
