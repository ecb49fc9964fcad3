//! Where V8 has what in its heap, by the symbols that Node has for debuggers.
//!
//! They are checked once, against what V8 itself says of one function.

use super::napi::Value;
use super::symbols::{self, Missing};
use crate::code_map::JsFrame;
use crate::heap_function::{Heap, HeapLayout};
use crate::log;
use loopscope_stacks::Memory;
use std::ffi::CString;
use std::sync::OnceLock;

/// Types of functions behind the first, in all versions.
const FUNCTION_TYPES: u16 = 16;

/// Where V8 has what; `None` where it was found to be otherwise.
static LAYOUT: OnceLock<Option<HeapLayout>> = OnceLock::new();

/// Returns where this process's V8 has what, once that was checked.
pub(crate) fn layout() -> Option<&'static HeapLayout> {
    LAYOUT.get()?.as_ref()
}

/// Checks it, the first time: what is read of this function must be what V8 itself `told` of it. On the thread of its isolate.
pub(super) fn check(function: Value, told: impl FnOnce() -> Option<JsFrame>) {
    LAYOUT.get_or_init(|| {
        let checked = checked(function, told());
        checked
            .map_err(|missing| log::off("names of waiting functions by V8's heap", &missing.to_string()))
            .ok()
    });
}

fn checked(function: Value, told: Option<JsFrame>) -> Result<HeapLayout, Missing> {
    let layout = find()?;
    let told = told.ok_or_else(|| Missing("V8 does not say where a function is".to_owned()))?;
    let memory = Memory::open().map_err(|error| Missing(format!("memory cannot be read: {error}")))?;
    let read = |address, bytes: &mut [u8]| memory.read_into(address, bytes).is_ok();
    let heap = Heap::new(&layout, &read);
    // A value is where V8 keeps the word that stands for it.
    let word = memory.read(function.addr() as u64).map(u64::from_ne_bytes);
    let found = word.and_then(|word| heap.function(word));
    if found.as_ref() == Some(&told) {
        return Ok(layout);
    }
    Err(Missing(format!("V8 says of a function: {told:?}, and its heap: {found:?}")))
}

/// Returns the number that V8 has for debuggers, under the first of these names that is there: they differ by version.
fn number(names: &[&str]) -> Result<i32, Missing> {
    let symbol = |name: &&str| {
        let name = CString::new(format!("v8dbg_{name}")).ok()?;
        symbols::find(&name).ok()
    };
    let address = names
        .iter()
        .find_map(symbol)
        .ok_or_else(|| Missing(format!("this program has no v8dbg_{}", names[0])))?;
    // SAFETY: each symbol of this kind is a constant of the C type `int`.
    Ok(unsafe { address.cast::<i32>().read() })
}

fn offset(names: &[&str]) -> Result<u64, Missing> {
    let number = number(names)?;
    u64::try_from(number).map_err(|_| Missing(format!("v8dbg_{} is {number}", names[0])))
}

fn kind(names: &[&str]) -> Result<u16, Missing> {
    let number = number(names)?;
    u16::try_from(number).map_err(|_| Missing(format!("v8dbg_{} is {number}", names[0])))
}

fn expect(name: &str, expected: i32) -> Result<(), Missing> {
    match number(&[name])? {
        found if found == expected => Ok(()),
        found => Err(Missing(format!("v8dbg_{name} is {found} and not {expected}"))),
    }
}

/// Checks what is taken for the same in all versions.
fn expect_all() -> Result<(), Missing> {
    for (name, expected) in [
        ("HeapObjectTag", 1),
        ("SmiTag", 0),
        ("SmiShiftSize", 31),
        ("IsNotStringMask", !0x7f),
        ("StringRepresentationMask", 7),
        ("StringEncodingMask", 8),
        ("OneByteStringTag", 8),
        ("SeqStringTag", 0),
        ("ConsStringTag", 1),
        ("ExternalStringTag", 2),
        ("SlicedStringTag", 3),
        ("ThinStringTag", 5),
        ("off_fp_context", -8),
        ("off_fp_function", -16),
        ("scopeinfo_idx_nparams", 1),
        ("scopeinfo_idx_ncontextlocals", 2),
    ] {
        expect(name, expected)?;
    }
    Ok(())
}

/// Finds the layout of this process's V8.
///
/// # Errors
/// V8 has something else there, or does not say.
fn find() -> Result<HeapLayout, Missing> {
    expect_all()?;
    let scope_head = offset(&["scopeinfo_idx_first_vars"])?;
    if ![3, 5].contains(&scope_head) {
        return Err(Missing(format!("v8dbg_scopeinfo_idx_first_vars is {scope_head}")));
    }
    let script_name = offset(&["class_Script__name__Object"])?;
    // Between them are the offsets of its first line and column, its context and its type.
    if offset(&["class_Script__line_ends__Object"])? != script_name + 40 {
        return Err(Missing("a script of V8 has other fields".to_owned()));
    }
    let first_function = kind(&["FirstJSFunctionType", "type_JSFunction__JS_FUNCTION_TYPE"])?;
    // Where V8 does not say which is the last, there are as many as in the versions that do.
    let last_function = kind(&["LastJSFunctionType"]).unwrap_or(first_function + FUNCTION_TYPES);
    Ok(HeapLayout {
        map: offset(&["class_HeapObject__map__Map"])?,
        map_type: offset(&["class_Map__instance_type__uint16_t"])?,
        function_shared: offset(&["class_JSFunction__shared__SharedFunctionInfo"])?,
        shared_scope: offset(&[
            "class_SharedFunctionInfo__name_or_scope_info__Object",
            "class_SharedFunctionInfo__name_or_scope_info__Tagged_Object_",
            "class_SharedFunctionInfo__name_or_scope_info__Tagged_NameOrScopeInfoT_",
        ])?,
        shared_script: offset(&[
            "class_SharedFunctionInfo__script__Tagged_HeapObject_",
            "class_SharedFunctionInfo__script_or_debug_info__HeapObject",
        ])?,
        script_name,
        script_source: offset(&["class_Script__source__Object"])?,
        string_length: offset(&["class_String__length__int32_t"])?,
        one_byte_chars: offset(&["class_SeqOneByteString__chars__char"])?,
        two_byte_chars: offset(&["class_SeqTwoByteString__chars__char"])?,
        cons_first: offset(&["class_ConsString__first__String"])?,
        cons_second: offset(&["class_ConsString__second__String"])?,
        sliced_parent: offset(&["class_SlicedString__parent__String"])?,
        sliced_offset: offset(&["class_SlicedString__offset__SMI"])?,
        thin_actual: offset(&["class_ThinString__actual__String"])?,
        external_resource: offset(&["class_ExternalString__resource__Object"])?,
        function_types: [first_function, last_function],
        bytecode_type: kind(&["type_BytecodeArray__BYTECODE_ARRAY_TYPE"])?,
        shared_type: kind(&["type_SharedFunctionInfo__SHARED_FUNCTION_INFO_TYPE"])?,
        scope_type: kind(&["type_ScopeInfo__SCOPE_INFO_TYPE"])?,
        script_type: kind(&["type_Script__SCRIPT_TYPE"])?,
        scope_head,
    })
}
