#include "retort/kernels/stream.h"

#include "retort/kernels/check.h"
#include "retort/kernels/thread_team.h"

#include <utility>

namespace retort {

Stream::Stream(Device device, int threads)
    : device_(device), threads_(std::make_unique<ThreadTeam>(device == Device::cuda ? 1 : threads)) {
  memory(device);  // says at once when there is no such device
}

Stream::~Stream() {
  if (scratch_ != nullptr) memory(device_).release(scratch_);
  if (counters_ != nullptr) memory(device_).release(counters_);
}

Stream::Stream(Stream&& other) noexcept
    : device_(other.device_),
      threads_(std::move(other.threads_)),
      scratch_(std::exchange(other.scratch_, nullptr)),
      scratch_bytes_(std::exchange(other.scratch_bytes_, 0)),
      counters_(std::exchange(other.counters_, nullptr)),
      tf32_(other.tf32_),
      kept_(std::move(other.kept_)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(threads_, other.threads_);
  std::swap(scratch_, other.scratch_);
  std::swap(scratch_bytes_, other.scratch_bytes_);
  std::swap(counters_, other.counters_);
  std::swap(tf32_, other.tf32_);
  std::swap(kept_, other.kept_);
  return *this;
}

void* Stream::scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_ || scratch_ == nullptr) {
    const DeviceMemory& table = memory(device_);
    if (scratch_ != nullptr) {
      table.synchronize();  // a kernel may still be using the old space
      table.release(std::exchange(scratch_, nullptr));
      scratch_bytes_ = 0;
    }
    scratch_ = table.allocate(bytes);
    scratch_bytes_ = bytes;
  }
  return scratch_;
}

std::int32_t* Stream::counters() {
  if (counters_ == nullptr) {
    const DeviceMemory& table = memory(device_);
    counters_ = static_cast<std::int32_t*>(table.allocate(counter_count * sizeof(std::int32_t)));
    table.fill_zero(counters_, counter_count * sizeof(std::int32_t));
  }
  return counters_;
}

void Stream::set_tf32(bool on) {
  check<InputError>(!on || device_ != Device::cpu,
                    "tf32: device cpu has no tensor cores; leave --tf32 out, or use --device cuda");
  tf32_ = on;
}

void Stream::synchronize() { memory(device_).synchronize(); }

}  // namespace retort
