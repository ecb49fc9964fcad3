//! Killing a command together with what it started.

/// Kills every process of the group of `leader`, which must be a child that was not waited for yet.
pub(crate) fn kill_group(leader: u32) {
    let Some(group) = i32::try_from(leader).ok().filter(|group| *group > 1) else { return };
    // SAFETY: kill takes two numbers and touches no memory of ours. The group is that of a child which nobody has waited
    // for, so its number is not another's.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}
