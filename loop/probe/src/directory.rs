//! The runtime directory: where page files lie, who may see them, and how they are read.
//!
//! Only a memory file system will do: on a disk file system the kernel's write-back makes the next store to a mapped
//! page wait for the disk. The directory is private (mode 0700, owned by us), its files are too (0600).
//!
//! A file is named `PID-STARTTIME-NUMBER.page`. Pages of dead processes stay as black boxes, at most [`DEAD_PAGES`] of them,
//! for [`DEAD_AGE`] from when they were first found dead (see `stale_pages.rs`).

pub use crate::page_file_name::{
    Owner, PageFile, agent_socket, agent_socket_owner, further_agent_socket, open_page_file, page_files,
    page_files_among, pid_namespace, process_start, told_agent_socket, user_of,
};
pub use crate::page_reader::{
    blank_page, read_counters_into, read_page, read_page_from, read_page_into, read_vitals_into,
};
pub use crate::private_directory::{make_private, own_user};
pub use crate::runtime_directory::{DIRECTORY_VARIABLE, passed_over, runtime_directory};
pub use crate::stale_pages::{DEAD_AGE, DEAD_PAGES, has_writer, remove_dead_pages};

// Not under Miri, which has neither file modes nor shared mappings.
#[cfg(all(test, not(miri)))]
#[path = "directory_tests.rs"]
mod tests;
