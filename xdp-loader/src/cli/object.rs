//! Where a program is when nobody says: built beside the sources, or installed by the package.

use std::path::{Path, PathBuf};

/// What help says of it.
pub(crate) const WHERE: &str = "below ebpf/prebuilt/ of this folder, otherwise in /usr/lib/ring0/";

/// The object of this name. One that is in neither place is named where the package has it.
pub(crate) fn kept(name: &str) -> PathBuf {
    let beside = Path::new("ebpf/prebuilt").join(name);
    if beside.is_file() {
        return beside;
    }
    Path::new("/usr/lib/ring0").join(name)
}
