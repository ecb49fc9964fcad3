//! What Node looks for in an addon's file.

use crate::{addon, sys};
use std::ffi::c_void;

/// Registers the addon: called by Node once for each environment that loads it.
///
/// # Safety
/// Node calls it, with an environment and an object of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(
    environment: *mut c_void,
    exports: *mut c_void,
) -> *mut c_void {
    // SAFETY: both are Node's, for the time of this call.
    unsafe { sys::register(environment, exports, addon::FUNCTIONS) };
    exports
}

/// Says which version of Node's interface for addons is wanted.
#[unsafe(no_mangle)]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}
