//! The name of a trace event: a constant text of the program, told by its address.

use libc::c_char;
use std::ffi::CStr;

/// The constant name of a trace event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceName(*const c_char);

impl TraceName {
    /// Takes a constant text.
    pub fn constant(text: &'static CStr) -> TraceName {
        TraceName(text.as_ptr())
    }

    /// Takes the name of an event, without a look at it.
    ///
    /// # Safety
    /// It points to a text that ends with a zero and lives as long as the process.
    #[inline]
    pub(super) unsafe fn of_event(name: *const c_char) -> TraceName {
        TraceName(name)
    }

    /// Returns where it is: the same for the same name, as far as the compiler merged the texts.
    #[inline]
    pub fn address(self) -> usize {
        self.0 as usize
    }

    /// Returns its text; empty where it is no UTF-8.
    pub fn text(self) -> &'static str {
        // SAFETY: whoever made it gave a text that ends with a zero and lives as long as the process.
        let text: &'static CStr = unsafe { CStr::from_ptr(self.0) };
        text.to_str().unwrap_or_default()
    }
}
