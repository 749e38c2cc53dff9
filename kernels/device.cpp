#include "retort/kernels/device.h"

#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"
#include "retort/kernels/thread_team.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

namespace retort {
namespace {

constexpr std::size_t alignment = 64;  // a cache line, and the widest vector register
constexpr std::size_t huge_page = 2 << 20;

void* allocate_host(std::size_t bytes) {
  // Megabytes (all weights, all gradients) go on huge pages where the system has them: a product that walks down the columns of a
  // weight matrix meets a new 4 KB page at every row.
  const std::size_t unit = bytes >= huge_page ? huge_page : alignment;
  const std::size_t rounded = (bytes + unit - 1) / unit * unit;
  // Rounding up may wrap around for absurd sizes; those fail like any other that does not fit.
  void* pointer = rounded < bytes ? nullptr : std::aligned_alloc(unit, rounded == 0 ? unit : rounded);
  check<DeviceError>(pointer != nullptr, "cpu: out of memory: {} bytes ({:.1f} MiB) were asked for", bytes,
                     static_cast<double>(bytes) / (1 << 20));
#ifdef MADV_HUGEPAGE
  if (unit == huge_page) madvise(pointer, rounded, MADV_HUGEPAGE);  // a wish: refused, the memory is as good
#endif
  return pointer;
}

void release_host(void* pointer) noexcept { std::free(pointer); }

void copy_host(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void fill_zero_host(void* pointer, std::size_t bytes) {
  if (bytes > 0) std::memset(pointer, 0, bytes);
}

void synchronize_host() {}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      const auto at = line.find_first_not_of(" \t", line.find(':') + 1);
      if (at != std::string::npos) return line.substr(at);
    }
  return "unknown processor";
}

const char* cpu_vectors() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return "AVX-512";
  if (__builtin_cpu_supports("avx2")) return "AVX2";
  return "SSE2";
#elif defined(__aarch64__)
  return "NEON";
#else
  return "no vector unit known";
#endif
}

}  // namespace

const DeviceMemory& host_memory() {
  static constexpr DeviceMemory table{allocate_host, release_host, fill_zero_host,  copy_host,
                                      copy_host,     copy_host,    synchronize_host};
  return table;
}

bool is_available(Device device) {
  switch (device) {
    case Device::cpu:
      return true;
    case Device::cuda:
      return cuda_available();
    case Device::cuda_sim:
      return cuda_sim_available();
  }
  return false;
}

std::string describe(Device device) {
  switch (device) {
    case Device::cpu: {
      const int threads = ThreadTeam::available();
      return fmt::format("cpu: {}, {} thread{}, {}", cpu_model(), threads, threads == 1 ? "" : "s", cpu_vectors());
    }
    case Device::cuda:
      return cuda_describe();
    case Device::cuda_sim:
      return cuda_sim_describe();
  }
  return "?";
}

const DeviceMemory& memory(Device device) {
  switch (device) {
    case Device::cpu:
      return host_memory();
    case Device::cuda:
      return cuda_memory();
    case Device::cuda_sim:
      return cuda_sim_memory();
  }
  fail<DeviceError>("device {} is not known", static_cast<int>(device));
}

}  // namespace retort
