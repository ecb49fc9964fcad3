//! The command as its users meet it: the built program, its output, its exit codes.

mod attach_refused;
mod attach_workers;
mod c_adapter;
mod child;
mod demo;
mod doctor;
mod flame;
mod healthy;
mod help;
mod incidents;
mod kept;
mod ls;
mod node_attach;
mod node_run;
mod nodes;
mod noise;
mod page_version;
mod printable;
mod profiles;
mod run_launchers;
mod run_permission;
mod scratch;
mod serve;
mod threshold;
mod top;
