// For wheels that run on older systems than the one that builds them (FLASHMLA_OLD_GLIBC).
//
// The headers of a newer C++ library ask this variable of glibc 2.32 whether a process has a single
// thread, and then count references without atomic instructions. 0 is always a right answer.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded;
char __libc_single_threaded = 0;
