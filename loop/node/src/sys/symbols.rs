//! Finding functions of the running program by name: nothing of Node is linked, so nothing can be missing before it is asked for.

use libc::{c_int, c_void};
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

/// Tells whether an address is in a file that is loaded: the program's, or a library's.
pub(crate) fn is_in_file(address: u64) -> bool {
    let address = address as usize;
    // SAFETY: `on_file` is such a function, and gets the address for the time of this call.
    unsafe { libc::dl_iterate_phdr(Some(on_file), (&raw const address).cast_mut().cast()) != 0 }
}

/// Takes a file that is loaded. Returns 1 where the address that `data` points to is in it.
unsafe extern "C" fn on_file(info: *mut libc::dl_phdr_info, _bytes: usize, data: *mut c_void) -> c_int {
    // SAFETY: `is_in_file` gives the address of its variable.
    let address = unsafe { data.cast::<usize>().read() };
    // SAFETY: the loader gives a file for the time of this call.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: it has so many segments.
    let segments = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let holds = |segment: &libc::Elf64_Phdr| {
        let begin = (info.dlpi_addr as usize).wrapping_add(segment.p_vaddr as usize);
        segment.p_type == libc::PT_LOAD && address.wrapping_sub(begin) < segment.p_memsz as usize
    };
    c_int::from(segments.iter().any(holds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_a_file_is_told_from_memory_that_no_file_holds() {
        assert!(is_in_file(is_in_file as fn(u64) -> bool as usize as u64));
        assert!(is_in_file(libc::malloc as *const () as u64), "of a library");
        let (made, local) = (Box::new(1), 2);
        assert!(
            !is_in_file((&raw const *made).addr() as u64) && !is_in_file((&raw const local).addr() as u64)
        );
        assert!(!is_in_file(0));
    }
}
