//! The program. Everything it does is in the library.

use std::process::ExitCode;

// Tensors are many short-lived blocks of memory; with the system's allocator every one of them faults in its pages
// anew, which costs a third of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    personascope::cli::main()
}
