//! See the docstring of `signed_sets` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("dnssec", data);
});
