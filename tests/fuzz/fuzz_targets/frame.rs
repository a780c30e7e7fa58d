//! See the docstring of `frame` in `targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::check("frame", data);
});
