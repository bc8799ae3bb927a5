//! The `paceline` binary: everything is in the library, see [`paceline::cli`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    paceline::cli::main()
}
