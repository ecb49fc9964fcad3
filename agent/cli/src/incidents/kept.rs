//! Incidents that outlived their processes: the files beside the pages, read as carefully as those.

use loopscope_probe::raw::directory::{open_page_file, own_user};
use loopscope_report::incident::Incident;
use loopscope_report::incident::file_name::{KEPT_FOR_NS, begin_and_pid, kept_directory};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a process keeps is below this.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Files that are read; processes of one user keep fewer.
const FILES_MAX: usize = 1_000;

/// Returns what this user's processes have kept in a runtime directory, and is not too old at `now_unix_ns`. What is another
/// user's, or no incident, is passed over: nobody else may write there.
pub fn incidents(runtime_directory: &Path, now_unix_ns: u64) -> Vec<Incident> {
    let directory = kept_directory(runtime_directory);
    let is_private = fs::symlink_metadata(&directory)
        .is_ok_and(|facts| facts.is_dir() && facts.uid() == own_user() && facts.mode() & 0o077 == 0);
    if !is_private {
        return Vec::new();
    }
    let oldest_ms = now_unix_ns.saturating_sub(KEPT_FOR_NS) / 1_000_000;
    let names = fs::read_dir(&directory).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let recent = names.filter(|name| begin_and_pid(name).is_some_and(|(begin_ms, _)| begin_ms >= oldest_ms));
    recent.take(FILES_MAX).filter_map(|name| read(&directory.join(name))).collect()
}

fn read(path: &Path) -> Option<Incident> {
    let file = open_page_file(path).ok()?;
    file.metadata().ok().filter(|facts| facts.uid() == own_user())?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    Incident::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::incident::file_name::file_name;
    use std::os::unix::fs::{DirBuilderExt, symlink};
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_incidents_of_a_private_directory_that_are_not_old_are_read() {
        let scratch =
            Scratch(std::env::temp_dir().join(format!("loopscope-read-kept-{}", std::process::id())));
        let _ = fs::remove_dir_all(&scratch.0);
        let place = kept_directory(&scratch.0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&place).unwrap();
        let day_ns = KEPT_FOR_NS;
        let incident = |number: u64, begin_unix_ns| Incident {
            id: format!("47-{number}").parse().unwrap(),
            pid: 47,
            begin_unix_ns,
            ..Incident::default()
        };
        for one in [incident(1, 3 * day_ns), incident(2, day_ns)] {
            fs::write(place.join(file_name(&one)), one.to_json()).unwrap();
        }
        fs::write(place.join(file_name(&incident(3, 3 * day_ns))), "{").unwrap();
        fs::write(scratch.0.join("elsewhere"), incident(4, 3 * day_ns).to_json()).unwrap();
        symlink(scratch.0.join("elsewhere"), place.join(file_name(&incident(4, 3 * day_ns)))).unwrap();
        let numbers =
            || -> Vec<u64> { incidents(&scratch.0, 3 * day_ns + 5).iter().map(Incident::number).collect() };
        assert_eq!(numbers(), [1]);
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(numbers(), [0; 0], "others may have written there");
    }
}
