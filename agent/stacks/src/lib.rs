//! Native stacks of a running thread of this process, taken from another thread, while the first one is blocked or busy.
//!
//! An event loop that is blocked cannot say where. So another thread, the agent's, asks: it sends a signal to the loop's
//! thread, whose handler copies its registers and its live stack into a prepared slot, and nothing more. The
//! agent unwinds the copy and names the addresses in its own time.
//!
//! A thread that sleeps in the kernel must not be asked: a signal ends many waits early. Its stack is read from memory
//! instead ([`Capturer::read_sleeping`]), and the reading holds only if the kernel says that it slept throughout. Its frame
//! pointer is then not known; where unwinding needs it, it is computed from the function's code, or searched for
//! ([`RawStack::is_guessed`]).
//!
//! ```text
//!   asking thread                              target thread
//!   Capturer::ask    -- rt_tgsigqueueinfo -->  handler: registers, tag words, stack bytes
//!   Capturer::take   <------- slot -----------          (no lock, no allocation, no unwinding)
//!   Capturer::read_sleeping                    (sleeps on) place in /proc, tag words, stack bytes by system call
//!   Unwinder::unwind      addresses, by the unwind tables of the loaded modules
//!   Symbolizer::name      functions, files, lines, inlined calls
//! ```
//!
//! The crate knows no page and no loop: [`TagSource`] lets a caller have some words of its own copied at the same instant,
//! and [`set_sampler`] lets a program have another runtime's stack read then.
//! It needs no privilege and no frame pointers. Linux only, on x86_64 and aarch64.
//!
//! # Who may call what
//! Everything may be called from any thread, also from the target. [`Capturer`] may move between threads; [`Symbolizer`]
//! stays where it was made, because the library below it shares counted references.
//!
//! # What it costs
//! The target thread: one signal delivery (3 us on a virtual machine) and below 1 us in the handler at 70 frames. The
//! asking thread: a wake-up's worth of waiting, some us of unwinding, and 1 to 100 ms for the first names of a module,
//! see [`Detail`].

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("loopscope-stacks is for Linux on x86_64 and aarch64");

mod error;
mod per_process;
mod target;

mod handler;
mod registers;
mod sampler;
mod signal;
mod slot;

mod sample;

mod capturer;
mod selftest;

mod sleeping;

mod frame_search;
mod loader_list;
mod machine_code;
mod memory;
mod modules;
mod tables;
mod unwind;
mod unwinder;
mod walk;

mod elf_symbols;
mod source_path;
mod symbol;

mod proc;
mod syscall;
pub mod thread;

pub use capturer::Capturer;
pub use elf_symbols::{ElfSymbol, ElfSymbols, SymbolKind, SymbolTable};
pub use error::{CaptureError, SleepingError};
pub use memory::Memory;
pub use modules::Module;
pub use registers::Registers;
pub use sample::{Sample, SampleSource};
pub use sampler::{SAMPLER_STACK_BYTES, SAMPLER_WORDS, Sampler, SamplerRegisters, set_sampler};
pub use selftest::{CaptureSupport, prepare, readiness};
pub use signal::{block_signal, foreign_signals};
pub use sleeping::ThreadProgress;
pub use symbol::{Detail, Nameless, NativeFrame, Symbolizer};
pub use target::{DoneWord, TAG_WORDS, TagSource, Target};
pub use unwind::RawStack;
pub use unwinder::Unwinder;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
