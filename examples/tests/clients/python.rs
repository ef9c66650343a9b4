//! Python's urllib, which leaves codings, tags and ranges to its user.

use std::process::Command;

use crate::support::in_both_modes;
use crate::LIST;

#[test]
fn urllib_reads_codings_tags_and_parts() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/client.py");
    for service in in_both_modes(0) {
        let output = Command::new("python3")
            .arg(script)
            .arg(format!("http://{}{LIST}", service.address))
            .output()
            .expect("`python3` is needed by this test");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(output.stdout, b"done\n");
    }
}
