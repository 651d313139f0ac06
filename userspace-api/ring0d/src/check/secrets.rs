//! Files that only one user may read, and the venue's file, which only its owner may write: it has the signer's policy.

use super::{Findings, Venue, tables, text};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits of a mode with which others may read, write or execute.
const OTHERS: u32 = 0o077;

/// Bits with which others may write.
const OTHERS_WRITE: u32 = 0o022;

pub(super) fn file_itself(file: &Path, findings: &mut Findings) {
    if let Ok(found) = file.metadata()
        && found.mode() & OTHERS_WRITE != 0
    {
        findings.add(
            "",
            format_args!(
                "others than its owner may write it (mode {:o}), and it says what the signer signs; chmod 644",
                found.mode() & 0o777
            ),
        );
    }
}

/// Looks at every file of a secret that is named. Session keys were read already.
pub(super) fn look(venue: &Venue<'_>, findings: &mut Findings) {
    if let Some(settled) = venue.table("settled") {
        for (place, hub) in tables(settled, "hub") {
            let key = format!("settled.hub[{place}].fee_key");
            secret(venue, &key, text(hub, "fee_key"), findings);
        }
    }
    if let Some(gateway) = venue.table("gateway") {
        for part in ["http", "ouch"] {
            let tls = gateway
                .get(part)
                .and_then(|it| it.get("tls")?.get("key")?.as_str());
            secret(venue, &format!("gateway.{part}.tls.key"), tls, findings);
        }
        let identity = gateway.get("identity").and_then(toml::Value::as_table);
        let sealing = identity.and_then(|it| text(it, "key_file"));
        // Not there yet: the gateway makes it.
        if sealing.is_some_and(|it| venue.path(it).exists()) {
            secret(venue, "gateway.identity.key_file", sealing, findings);
        }
        secret(venue, "gateway.tokens", text(gateway, "tokens"), findings);
    }
    let Some(signer) = venue.table("signer") else {
        return;
    };
    let Some(home) = venue.signer_home() else {
        return findings.add("signer.home", "it is missing; name the signer's folder");
    };
    match home.metadata() {
        Err(error) => findings.add(
            "signer.home",
            format_args!(
                "{}: {error}; `ring0 signer --config {} init` makes it",
                home.display(),
                venue.file.display()
            ),
        ),
        Ok(found) if found.mode() & OTHERS != 0 => findings.add(
            "signer.home",
            format_args!(
                "others may look into {} (mode {:o}); chmod 700",
                home.display(),
                found.mode() & 0o777
            ),
        ),
        Ok(_) => {}
    }
    if let Some(pin) = signer
        .get("pkcs11")
        .and_then(|it| it.get("pin_file")?.as_str())
    {
        mode("signer.pkcs11.pin_file", &home.join(pin), findings);
    }
}

fn secret(venue: &Venue<'_>, key: &str, given: Option<&str>, findings: &mut Findings) {
    if let Some(given) = given {
        mode(key, &venue.path(given), findings);
    }
}

fn mode(key: &str, path: &Path, findings: &mut Findings) {
    match path.metadata() {
        Err(error) => findings.add(
            key,
            format_args!(
                "{}: {error}; make the file, mode 0600, or correct the path",
                path.display()
            ),
        ),
        Ok(found) if found.mode() & OTHERS != 0 => findings.add(
            key,
            format_args!(
                "others may read {} (mode {:o}); chmod 600",
                path.display(),
                found.mode() & 0o777
            ),
        ),
        Ok(_) => {}
    }
}
