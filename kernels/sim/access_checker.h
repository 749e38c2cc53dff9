// Finds, while a block runs on the host, two things that a GPU only sometimes shows: threads that touch the same word between two
// barriers, one of them writing, and shared memory that is read before anyone wrote it.
//
// Kernels are compiled with -fsanitize=thread but not linked with ThreadSanitizer: the compiler then calls __tsan_read4(address)
// and its kin before each memory access, and access_checker.cpp defines those. Each 4-byte word has a cell that remembers its
// last writer and readers. Shared memory (the host thread's static storage and the dynamic buffer) has one cell a word. Global
// memory has a small table in which a word may push out another, so there a race can be missed but is never invented.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace retort::sim {

class HazardCheck;

class AccessChecker {
 public:
  AccessChecker();

  /// hazards: what global memory the block touches is passed on to it, unless it is null.
  void block_begins(const void* dynamic_shared, std::size_t dynamic_bytes, std::size_t dynamic_capacity, HazardCheck* hazards);
  /// On while this host thread is inside a kernel; off while it is in the simulator.
  void watch(bool on);
  void barrier() { ++epoch_; }
  void warp_barrier(int warp) {
    ++warp_epoch_[static_cast<std::size_t>(warp)];
    now_ = warp_epoch_[static_cast<std::size_t>(warp_)];
  }
  /// The thread that runs from now on, by its linear index, and its stack, which is nobody else's business.
  void thread_runs(int thread, std::uintptr_t stack_low, std::uintptr_t stack_high);

  /// One kind of access of the running thread; `code` is where in the program. Most of the simulator's time is spent here.
  template <bool write>
  void access(const void* address, std::size_t bytes, const void* code);

  /// What was found first: threads by linear index, and where in the program. `kind` is none when all is well.
  enum class Kind { none, race, uninitialised, out_of_bounds };
  struct Finding {
    Kind kind = Kind::none;
    bool write = false, other_wrote = false;
    int thread = 0, other = 0;
    const void* address = nullptr;
    const void* code = nullptr;
  };
  const Finding& finding() const { return finding_; }

 private:
  struct alignas(32) Cell {
    std::uint32_t tag = 0;         // which word's it is (only the table of global memory needs it)
    std::uint32_t written_in = 0;  // serial number of the block that wrote it
    std::uint32_t write_epoch = 0, write_warp_epoch = 0, read_epoch = 0, read_warp_epoch = 0;
    std::int16_t writer = 0, reader = 0;  // reader -1: several threads
    std::int8_t reader_warp = 0;          // -1: several warps
    bool exempt = false;
  };
  static_assert(sizeof(Cell) == 32);
  template <bool write>
  void word(std::uintptr_t at, const void* code);
  template <bool write>
  void words(std::uintptr_t at, std::uintptr_t end, const void* code);
  template <bool write>
  void touch(Cell& cell, std::uintptr_t address, const void* code);
  void report(Kind kind, bool write, bool other_wrote, int other, std::uintptr_t address, const void* code);

  std::uintptr_t static_low_ = 0, static_bytes_ = 0, dynamic_low_ = 0, dynamic_bytes_ = 0, dynamic_capacity_ = 0;
  std::uintptr_t stack_low_ = 0, stack_bytes_ = 0;
  int thread_ = 0, warp_ = 0;
  std::uint32_t serial_ = 0, epoch_ = 0;
  std::vector<std::uint32_t> warp_epoch_;
  std::uint32_t now_ = 0;  // the running thread's warp epoch
  std::vector<Cell> static_cells_, dynamic_cells_, global_cells_;
  Finding finding_;
  HazardCheck* hazards_ = nullptr;
};

/// "program 0x1234", what addr2line wants.
std::string code_location(const void* code);

}  // namespace retort::sim
