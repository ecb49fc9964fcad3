//! Finding functions of the running program by name: nothing of Node is linked, so nothing can be missing before it is asked for.

use libc::c_void;
use std::ffi::CStr;
use std::fmt;

/// An assumption about Node, V8 or libuv that does not hold in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the address of a symbol of the program or of a library that it has loaded.
///
/// # Errors
/// There is none of this name.
pub(super) fn find(name: &CStr) -> Result<*mut c_void, Missing> {
    // SAFETY: the name ends with a zero; dlsym only reads it.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    match address.is_null() {
        true => Err(Missing(format!("this program has no {}", name.to_string_lossy()))),
        false => Ok(address),
    }
}

/// A table of functions with `find`, which looks each of them up:
/// `struct Table { pub(super) name: unsafe extern "C" fn(A) -> B, .. }`.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($field:ident = $name:literal: fn($($arg:ty),*) $(-> $out:ty)?;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $table {
            $(pub(super) $field: unsafe extern "C" fn($($arg),*) $(-> $out)?,)*
        }

        impl $table {
            pub(super) fn find() -> Result<Self, Missing> {
                $(let $field = symbols::find($name)?;)*
                Ok($table {
                    $($field: {
                        // SAFETY: the symbol of this name is a function of this type in every Node from 18 on.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $out)?>($field) }
                    },)*
                })
            }
        }
    };
}
pub(super) use functions;
