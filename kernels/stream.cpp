#include "retort/kernels/stream.h"

#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"
#include "retort/kernels/thread_team.h"

#include <utility>

namespace retort {
namespace {

std::shared_ptr<Queue> make_queue(Device device) {
  memory(device);  // says at once when there is no such device
  switch (device) {
    case Device::cpu:
      break;
    case Device::cuda:
      return make_cuda_queue();
    case Device::cuda_sim:
      return make_cuda_sim_queue();
  }
  return std::make_shared<Queue>(device);
}

}  // namespace

Stream::Stream(Device device, std::shared_ptr<Queue> queue, std::shared_ptr<ThreadTeam> threads)
    : device_(device), queue_(std::move(queue)), threads_(std::move(threads)) {}

Stream::Stream(Device device, int threads)
    : Stream(device, make_queue(device), std::make_shared<ThreadTeam>(device == Device::cuda ? 1 : threads)) {}

Stream Stream::sibling() const {
  Stream other(device_, queue_, threads_);
  other.tf32_ = tf32_;
  return other;
}

Stream Stream::beside() const {
  Stream other = sibling();
  if (std::shared_ptr<Queue> queue = queue_->beside()) other.queue_ = std::move(queue);
  return other;
}

void Stream::wait_for(Stream& other) {
  if (queue_ != other.queue_) queue_->wait_for(*other.queue_);
}

Stream::~Stream() {
  if (scratch_ != nullptr) memory(device_).release(scratch_);
  if (counters_ != nullptr) memory(device_).release(counters_);
}

Stream::Stream(Stream&& other) noexcept
    : device_(other.device_),
      queue_(std::move(other.queue_)),
      threads_(std::move(other.threads_)),
      scratch_(std::exchange(other.scratch_, nullptr)),
      scratch_bytes_(std::exchange(other.scratch_bytes_, 0)),
      counters_(std::exchange(other.counters_, nullptr)),
      tf32_(other.tf32_),
      kept_(std::move(other.kept_)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(queue_, other.queue_);
  std::swap(threads_, other.threads_);
  std::swap(scratch_, other.scratch_);
  std::swap(scratch_bytes_, other.scratch_bytes_);
  std::swap(counters_, other.counters_);
  std::swap(tf32_, other.tf32_);
  std::swap(kept_, other.kept_);
  return *this;
}

void Stream::expect_no_capture(const char* what) const {
  check<DeviceError>(!queue_->capturing(), "{}: {} while a step is captured; a replay could not repeat it", name(device_), what);
}

void* Stream::scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_ || scratch_ == nullptr) {
    expect_no_capture("a kernel asked for more work space");
    const DeviceMemory& table = memory(device_);
    if (scratch_ != nullptr) {
      queue_->synchronize();  // a kernel may still be using the old space
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
    expect_no_capture("a kernel asked for counters");
    counters_ = static_cast<std::int32_t*>(memory(device_).allocate(counter_count * sizeof(std::int32_t)));
    queue_->fill_zero(counters_, counter_count * sizeof(std::int32_t));
  }
  return counters_;
}

void Stream::set_tf32(bool on) {
  check<InputError>(!on || device_ != Device::cpu,
                    "tf32: device cpu has no tensor cores; leave --tf32 out, or use --device cuda");
  tf32_ = on;
}

void Stream::copy_from_host(void* to, const void* from, std::size_t bytes) {
  expect_no_capture("values are copied from the host");
  queue_->copy_from_host(to, from, bytes);
}

void Stream::copy_to_host(void* to, const void* from, std::size_t bytes) {
  expect_no_capture("values are copied to the host");
  queue_->copy_to_host(to, from, bytes);
}

void Stream::synchronize() {
  expect_no_capture("the host waits for the device");
  queue_->synchronize();
}

Capture::Capture(Stream& stream) : stream_(stream) {
  check<DeviceError>(stream.queue().can_capture(), "{}: work on this device cannot be captured", name(stream.device()));
  stream.queue().begin_capture();
}

Capture::~Capture() {
  if (open_) stream_.queue().abandon_capture();
}

std::unique_ptr<WorkGraph> Capture::finish() {
  auto graph = stream_.queue().end_capture();
  open_ = false;
  return graph;
}

}  // namespace retort
