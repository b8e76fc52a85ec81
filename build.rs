//! The shared library's SONAME. Everything else is done by Cargo and, for installation, the Makefile.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libctoffload.so.0");
    }
}
