#include "retort/kernels/sim/access_checker.h"

#include <fmt/format.h>

#include "retort/kernels/sim/cuda_runtime.h"
#include "retort/kernels/sim/hazards.h"

#include <dlfcn.h>
#include <link.h>

namespace retort::sim {
namespace {

constexpr std::size_t global_cell_count = std::size_t{1} << 14;

// The checker of the block that this host thread runs; null outside kernels.
constinit thread_local AccessChecker* active = nullptr;

struct Range {
  std::uintptr_t low = 0, bytes = 0;
};

// The static thread_local storage of the program or library that holds the simulator, in this host thread.
Range static_storage() {
  struct Search {
    std::uintptr_t inside;
    Range found;
  } search{reinterpret_cast<std::uintptr_t>(&threadIdx), {}};
  dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        for (int i = 0; i < module->dlpi_phnum; ++i) {
          const auto& header = module->dlpi_phdr[i];
          if (header.p_type != PT_TLS || module->dlpi_tls_data == nullptr) continue;
          const auto low = reinterpret_cast<std::uintptr_t>(module->dlpi_tls_data);
          if (wanted.inside - low < header.p_memsz) wanted.found = {low, header.p_memsz};
        }
        return wanted.found.bytes != 0 ? 1 : 0;
      },
      &search);
  return search.found;
}

}  // namespace

AccessChecker::AccessChecker() : warp_epoch_(32, 0), global_cells_(global_cell_count) {
  const Range range = static_storage();
  static_low_ = range.low & ~std::uintptr_t{3};
  static_bytes_ = range.bytes;
  static_cells_.resize(range.bytes / 4 + 2);
  const auto exempt = [&](const void* variable, std::size_t bytes) {
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(variable) - static_low_) / 4;
    for (std::size_t i = 0; i < bytes / 4; ++i) static_cells_[first + i].exempt = true;
  };
  exempt(&threadIdx, sizeof(threadIdx));
  exempt(&blockIdx, sizeof(blockIdx));
  exempt(&blockDim, sizeof(blockDim));
  exempt(&gridDim, sizeof(gridDim));
}

void AccessChecker::block_begins(const void* dynamic_shared, std::size_t dynamic_bytes, std::size_t dynamic_capacity,
                                 HazardCheck* hazards) {
  ++serial_;
  ++epoch_;
  finding_ = {};
  dynamic_low_ = reinterpret_cast<std::uintptr_t>(dynamic_shared);
  dynamic_bytes_ = dynamic_bytes;
  dynamic_capacity_ = dynamic_capacity;
  hazards_ = hazards;
  if (dynamic_cells_.size() < dynamic_capacity / 4 + 1) dynamic_cells_.resize(dynamic_capacity / 4 + 1);
}

void AccessChecker::watch(bool on) { active = on ? this : nullptr; }

void AccessChecker::thread_runs(int thread, std::uintptr_t stack_low, std::uintptr_t stack_high) {
  thread_ = thread;
  warp_ = thread / 32;
  now_ = warp_epoch_[static_cast<std::size_t>(warp_)];
  stack_low_ = stack_low;
  stack_bytes_ = stack_high - stack_low;
}

[[gnu::noinline, gnu::cold]] void AccessChecker::report(Kind kind, bool write, bool other_wrote, int other,
                                                        std::uintptr_t address, const void* code) {
  if (finding_.kind == Kind::none)
    finding_ = {kind, write, other_wrote, thread_, other, reinterpret_cast<const void*>(address), code};
}

// Always inlined: the compiler would rather make one function of these for all the calls below, and nearly all the simulator's
// time would go into entering it. They call nothing of the standard library, see note().
#define RETORT_HOT [[gnu::always_inline]] inline

template <bool write>
RETORT_HOT void AccessChecker::touch(Cell& cell, std::uintptr_t address, const void* code) {
  const std::uint32_t warp_epoch = now_;
  if (cell.write_epoch == epoch_ && cell.writer != thread_ && (cell.writer / 32 != warp_ || cell.write_warp_epoch == warp_epoch))
    report(Kind::race, write, true, cell.writer, address, code);
  if (!write) {
    const bool again = cell.read_epoch == epoch_;
    if (again && cell.reader_warp == -1) return;
    if (!again || (cell.reader_warp == warp_ && cell.read_warp_epoch != warp_epoch)) {
      cell.reader = static_cast<std::int16_t>(thread_);
      cell.reader_warp = static_cast<std::int8_t>(warp_);
    } else {
      if (cell.reader != thread_) cell.reader = -1;
      if (cell.reader_warp != warp_) cell.reader_warp = -1;
    }
    cell.read_epoch = epoch_;
    cell.read_warp_epoch = warp_epoch;
    return;
  }
  if (cell.read_epoch == epoch_ && cell.reader != thread_ && (cell.reader_warp != warp_ || cell.read_warp_epoch == warp_epoch))
    report(Kind::race, true, false, cell.reader, address, code);
  cell.written_in = serial_;
  cell.write_epoch = epoch_;
  cell.write_warp_epoch = warp_epoch;
  cell.writer = static_cast<std::int16_t>(thread_);
}

// `at`: the address of a 4-byte word.
template <bool write>
RETORT_HOT void AccessChecker::word(std::uintptr_t at, const void* code) {
  if (const std::uintptr_t offset = at - dynamic_low_; offset < dynamic_capacity_) {
    if (offset >= dynamic_bytes_) return report(Kind::out_of_bounds, write, false, 0, at, code);
    Cell& cell = dynamic_cells_.data()[offset / 4];
    if (!write && cell.written_in != serial_) report(Kind::uninitialised, false, false, 0, at, code);
    touch<write>(cell, at, code);
  } else if (const std::uintptr_t inside = at - static_low_; inside < static_bytes_) {
    Cell& cell = static_cells_.data()[inside / 4];
    if (cell.exempt) return;
    if (!write && cell.written_in != serial_) report(Kind::uninitialised, false, false, 0, at, code);
    touch<write>(cell, at, code);
  } else {
    if (hazards_ != nullptr) hazards_->touch(at, write);
    Cell& cell = global_cells_.data()[at / 4 % global_cell_count];
    const auto tag = static_cast<std::uint32_t>(at / 4 / global_cell_count);  // all bits of an address of 48
    if (cell.tag != tag) cell = Cell{.tag = tag};
    touch<write>(cell, at, code);
  }
}

template <bool write>
[[gnu::noinline]] void AccessChecker::words(std::uintptr_t at, std::uintptr_t end, const void* code) {
  for (; at < end; at += 4) word<write>(at, code);
}

template <bool write>
RETORT_HOT void AccessChecker::access(const void* pointer, std::size_t bytes, const void* code) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address - stack_low_ < stack_bytes_) return;
  const std::uintptr_t first = address & ~std::uintptr_t{3};
  if (address + bytes <= first + 4)
    word<write>(first, code);
  else
    words<write>(first, address + bytes, code);
}

std::string code_location(const void* code) {
  Dl_info info;
  if (dladdr(code, &info) == 0 || info.dli_fname == nullptr) return fmt::format("{}", code);
  return fmt::format("{} {:#x}", info.dli_fname,
                     reinterpret_cast<std::uintptr_t>(code) - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
}

}  // namespace retort::sim

// What the compiler calls. The names and signatures are those of the ThreadSanitizer run-time interface (GCC's sanitizer.def).
#if defined(RETORT_SIM_CHECK)
using retort::sim::active;

namespace {
// Functions of the standard library may be the copies compiled with the kernels and come back here, so this calls none.
template <bool write>
RETORT_HOT void note(const void* address, std::size_t bytes, const void* code) {
  if (retort::sim::AccessChecker* checker = active) checker->access<write>(address, bytes, code);
}
}  // namespace

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

#define RETORT_NOTE(bytes)                                                                                       \
  void __tsan_read##bytes(void* address) { note<false>(address, bytes, __builtin_return_address(0)); }           \
  void __tsan_write##bytes(void* address) { note<true>(address, bytes, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##bytes(void* address) { note<false>(address, bytes, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* address) { note<true>(address, bytes, __builtin_return_address(0)); }
RETORT_NOTE(1)
RETORT_NOTE(2)
RETORT_NOTE(4)
RETORT_NOTE(8)
RETORT_NOTE(16)
#undef RETORT_NOTE
void __tsan_read_range(void* address, std::size_t bytes) { note<false>(address, bytes, __builtin_return_address(0)); }
void __tsan_write_range(void* address, std::size_t bytes) { note<true>(address, bytes, __builtin_return_address(0)); }

// Atomics of inline library code that happens to be compiled with the kernels (reference counts): always sequentially consistent.
#define RETORT_ATOMICS(bits, T)                                                                                     \
  T __tsan_atomic##bits##_load(const volatile T* a, int) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* a, T v, int) { __atomic_store_n(a, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* a, T v, int) { return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* a, T v, int) { return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* a, T v, int) { return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_and(volatile T* a, T v, int) { return __atomic_fetch_and(a, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_or(volatile T* a, T v, int) { return __atomic_fetch_or(a, v, __ATOMIC_SEQ_CST); }   \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* a, T* e, T v, int, int) {                           \
    return __atomic_compare_exchange_n(a, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* a, T* e, T v, int, int) {                             \
    return __atomic_compare_exchange_n(a, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
  }
RETORT_ATOMICS(8, std::int8_t)
RETORT_ATOMICS(32, std::int32_t)
RETORT_ATOMICS(64, std::int64_t)
#undef RETORT_ATOMICS
}
#endif
#undef RETORT_HOT
