//! The only unsafe code of this crate: what Node, V8 and libuv call us with, and what we call of them.
//!
//! Every assumption is a guard that is checked before it is relied on. One that does not hold is a [`Missing`], which turns off
//! the one feature that needs it.
//!
//! | file | what of whom | its guards |
//! |---|---|---|
//! | `allocator` | memory of this addon | |
//! | `async_id_place` | the id of what runs, in Node's environment | what Node's own function says, again and again; read by system call first |
//! | `microtask_count` | how many microtasks have ended, in V8's queue | what V8 says at the end of each drain, again and again; read by system call first |
//! | `collecting` | when V8 last collected garbage | |
//! | `function_place` | where a function is | the symbols are there |
//! | `heap_layout` | where V8 has what in its heap | Node's symbols for debuggers, and what V8 says of one function; read by system call |
//! | `symbols` | functions by name | the symbol is there |
//! | `napi` | Node's C interface for addons | part of Node's stable interface |
//! | `module` | functions that JavaScript calls | |
//! | `hook_counts` | counters of `async_hooks` | an array of such numbers |
//! | `js_callback` | a function of JavaScript's that any thread of ours has called | part of Node's stable interface |
//! | `event` | what is told, and who is told | |
//! | `current` | who is told on this thread | |
//! | `uv` | libuv's handles and loop | sizes, fields that are known by other ways, rings that close |
//! | `v8` | hooks of V8: entries, collections, heap | what Node's own JavaScript says of the same heap |
//! | `trace_name` | names of Node's trace events | |
//! | `trace_sink` | the virtual table of Node's trace controller | its entries are the exported functions |
//! | `stack_trace` | JavaScript's stack, by interrupt | the symbols are there |
//! | `sampler` | V8's stack, in a signal handler | the same; a stack that is large enough |
//! | `code_events` | V8's code, new and moved | the same |
//! | `pool_memory` | static variables of libuv's pool | their sizes, and rings that close; read by system call |
//! | `probe_job` | a job of ours in that pool | its size |

mod allocator;
mod async_id_place;
mod code_events;
mod collecting;
mod current;
mod event;
mod function_place;
mod heap_layout;
mod hook_counts;
mod js_callback;
mod microtask_count;
mod module;
mod napi;
mod pool_memory;
mod probe_job;
mod sampler;
mod stack_trace;
mod symbols;
mod trace_name;
mod trace_sink;
mod uv;
mod v8;

pub(crate) use async_id_place::AsyncIdPlace;
pub(crate) use code_events::lock_code;
pub(crate) use event::{EntryWatcher, Running, Watcher};
pub use event::{Event, HeapFigures, TraceEvent};
pub(crate) use heap_layout::layout as heap_layout;
pub(crate) use hook_counts::HookCounts;
pub(crate) use js_callback::{next_text, tell_all, unlisten};
pub(crate) use microtask_count::MicrotaskCount;
pub(crate) use module::{Caller, Named, own_name, register};
pub use pool_memory::PoolAddresses;
pub(crate) use pool_memory::PoolMemory;
pub(crate) use probe_job::ProbeJob;
pub(crate) use sampler::{
    caller as sample_caller, frame as sample_frame, jobs as sample_jobs, parts as sample_parts,
    place as sample_place,
};
pub(crate) use stack_trace::{Answer, AskedLoop, Captured, Question, all_loops, loop_of};
pub use symbols::Missing;
pub(crate) use symbols::is_in_file;
pub use trace_name::TraceName;
pub(crate) use trace_sink::{Listened, TraceSink};
pub(crate) use uv::{Handles, MetricsPlace, UvLoop};
pub(crate) use v8::Isolate;
