//! The addon for real Node.js: watches the event loops of a process from inside, and has loopscope's agent in it.
//!
//! One file, loaded by Node 18 to 26 as it is. It links nothing of Node: functions of libuv, V8 and Node are found by
//! name at run time, every assumption about them is checked, and one that does not hold turns off what needs it, with
//! a line that says why. No code of the process is patched; nothing runs per promise, per await or per tick.
//!
//! ```text
//!   libuv (3 handles)    V8 (hooks)    Node's trace events        the agent's thread
//!        \                  |                /                      |
//!         `----------->  sys  <-------------'                    pool (observed)
//!                         |  Event
//!                      adapter ---> entries ---> loopscope-probe's Writer ---> the page
//!                         |---> gc, heap
//! ```
//!
//! - `sys`: all that is unsafe, and its guards. It knows nobody above it.
//! - `entries`: from events to what the page is told. Free of C, so tests play recorded events.
//! - `names`: what an entry is for.
//! - `frames`, `code_map`, `copied_stack`, `source_map`: JavaScript on stacks.
//! - `checkpoint_hook`: where V8's checkpoints are hooked.
//! - `counts`: what was counted so far, for programs and tests.
//! - `gc`, `heap`, `pool`: what only Node has. `poll_metrics`: what libuv counts of its polls.
//! - `figures`, `stalls`: what JavaScript is told of its loop.
//! - `ablation`: what is left out of it, to measure what each part costs.
//! - `adapter`: one loop with all of them. `addon`: what JavaScript calls. `exports`: what Node
//!   looks for.
//!
//! On a loop's thread nothing waits, locks or logs; memory is allocated for names that are new and for resources that live.

pub mod ablation;
mod adapter;
mod addon;
mod agent_start;
mod checkpoint_hook;
pub mod code_map;
mod copied_stack;
mod counts;
pub mod description;
pub mod entries;
mod exports;
mod file_code;
mod found;
mod frames;
pub mod gc;
pub mod heap;
mod heap_function;
mod log;
pub mod names;
pub mod poll_metrics;
pub mod pool;
pub mod recording;
pub mod settings;
mod snapshot;
pub mod source_map;
mod stalls;
mod sys;
