"""Native loops: the time loops of a program as machine code, written with LLVM, where llvmlite is installed."""
