//! Says whether the page's player is there to be built in. `scripts/build-player` fetches it; nothing is fetched here.

// Cargo is spoken to on standard output.
#![allow(clippy::print_stdout)]

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(keyrung_hls)");
    // The folder, which is always there: a watched file that is missing would build everything again each time.
    println!("cargo::rerun-if-changed=src/server/player");
    if Path::new("src/server/player/vendor/hls.min.js").is_file() {
        println!("cargo::rustc-cfg=keyrung_hls");
    }
}
