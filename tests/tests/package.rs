//! The Debian package: it is built, installed into a root of its own, beside Debian's tool of the same name, and its units verify.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(ROOT)
        .output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; scripts/setup installs it"))
}

fn done(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn the_package_is_built_installed_and_its_units_verify() {
    if !Path::new(ROOT).join("target/tools/bin/cargo-deb").exists() {
        println!("skipped: no cargo-deb (`scripts/setup` installs it)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    done("scripts/package", &[&path("out")]);
    let package = fs::read_dir(folder.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .expect("a package");

    let root = folder.path().join("root");
    let status = root.join("var/lib/dpkg/status");
    fs::create_dir_all(status.parent().unwrap()).unwrap();
    fs::write(&status, "").unwrap();
    // The root has no libc: that is all it may lack.
    let (option, file) = (
        format!("--root={}", root.display()),
        package.display().to_string(),
    );
    let said = done("dpkg", &[&option, "--force-depends", "--install", &file]);
    assert!(!said.contains("error"), "{said}");
    assert!(
        fs::read_to_string(&status)
            .unwrap()
            .contains("Package: ring0-xdp-loader")
    );

    // Debian's xdp-tools has these; nothing of ours may be in their place.
    for theirs in ["usr/sbin/xdp-loader", "usr/share/man/man8/xdp-loader.8.gz"] {
        assert!(!root.join(theirs).exists(), "{theirs} is Debian's");
    }
    let loader = root.join("usr/sbin/ring0-xdp-loader").display().to_string();
    assert!(done(&loader, &["--version"]).starts_with("xdp-loader "));
    let object = root.join("usr/lib/ring0/ring0.bpf.o").display().to_string();
    assert!(done(&loader, &["subprograms", &object]).contains("most stack: "));
    assert!(
        done(
            &root.join("usr/bin/ring0d").display().to_string(),
            &["--help"]
        )
        .contains("--market")
    );
    for file in [
        "usr/share/man/man1/ring0-xdp-loader-replace.1.gz",
        "usr/share/bash-completion/completions/ring0-xdp-loader",
        "usr/share/ring0/xdp-loader-1.json",
        "usr/lib/ring0/dispatch.bpf.o",
    ] {
        assert!(root.join(file).is_file(), "{file}");
    }

    // What every Debian has around our units.
    let units = root.join("usr/lib/systemd/system");
    for entry in fs::read_dir("/lib/systemd/system").unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let ending = name.rsplit('.').next().unwrap_or_default();
        if matches!(ending, "target" | "slice" | "mount") && entry.path().is_file() {
            fs::copy(entry.path(), units.join(name)).unwrap();
        }
    }
    let ours = ["ring0d@example.service", "ring0-replace@eth0.service"];
    let verify = [&option, "--man=no", "--recursive-errors=no", "verify"];
    let said = done("systemd-analyze", &[&verify[..], &ours].concat());
    assert_eq!(said, "", "no warning either");
    for unit in ours {
        // Out of 100: exposure 4.0 of 10 at the most.
        let security = [
            &option,
            "security",
            "--offline=true",
            "--threshold=40",
            unit,
        ];
        let said = done("systemd-analyze", &security);
        println!("{}", said.lines().last().unwrap_or_default());
    }
    // The test itself: a broken unit does not pass.
    let unit = units.join(ours[1].replace("@eth0", "@"));
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(
        &unit,
        text.replace("/usr/sbin/ring0-xdp-loader", "/usr/sbin/none"),
    )
    .unwrap();
    let broken = run("systemd-analyze", &[&verify[..], &ours[1..]].concat());
    assert!(!broken.status.success() || !broken.stderr.is_empty());
}
