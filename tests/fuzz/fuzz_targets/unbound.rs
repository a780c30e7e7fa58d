//! See the docstring of `unbound` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("unbound", data);
});
