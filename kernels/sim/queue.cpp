// Capture and replay on the host. A replay does the work of a forked branch as late as it may, just before the branch is waited
// for, while uncaptured work is done in the order of the calls: a branch that is not independent of the work beside it gives
// other numbers in the two, and tests that compare them notice. Where the numbers would be the same, hazards.h notices.
#include "retort/kernels/sim/queue.h"

#include "retort/kernels/check.h"
#include "retort/kernels/sim/faults.h"
#include "retort/kernels/sim/hazards.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace retort::sim {
namespace {

struct Work {
  enum class Kind { task, fork, join };
  Kind kind = Kind::task;
  WorkNode node{};                           ///< of a task
  std::function<void(HazardCheck*)> task{};  ///< null: nobody watches
};

Launch without_work(const char* name, std::size_t bytes) { return {name, dim3(0, 0, 0), dim3(0, 0, 0), bytes}; }

class SimGraph final : public WorkGraph {
 public:
  explicit SimGraph(std::vector<Work> work) : work_(std::move(work)) {}

  std::size_t size() const override { return static_cast<std::size_t>(std::ranges::count(work_, Work::Kind::task, &Work::kind)); }

  std::vector<WorkNode> nodes() const override {
    std::vector<WorkNode> nodes;
    for (const Work& work : work_)
      if (work.kind == Work::Kind::task) nodes.push_back(work.node);
    std::size_t main = 0, branch = 0;  // depths that the next task of either waits for
    auto node = nodes.begin();
    for (const Work& work : work_) {
      if (work.kind == Work::Kind::fork) branch = std::max(branch, main);
      if (work.kind == Work::Kind::join) main = std::max(branch, main);
      if (work.kind != Work::Kind::task) continue;
      node->depth = ++(node->beside ? branch : main);
      ++node;
    }
    return nodes;
  }

  /// The first replay is watched.
  void run() const {
    if (watched_ || work_.size() > 0xffff) return play(nullptr);  // pieces are counted in 16 bits
    HazardCheck check;
    play(&check);
    if (const HazardCheck::Finding* finding = check.finding()) fail<DeviceError>("{}", describe(*finding));
    watched_ = true;
  }

 private:
  using Piece = HazardCheck::Piece;

  void play(HazardCheck* check) const {
    const auto begin = [&](const Work& work, const Piece& piece) {
      if (check != nullptr) check->begin(piece);
      work.task(check);
    };
    std::vector<std::pair<const Work*, Piece>> late;
    std::uint16_t main = 0, beside = 0, forked_at = 0, joined_at = 0;
    for (const Work& work : work_) {
      if (work.kind == Work::Kind::fork) {
        forked_at = main;
      } else if (work.kind == Work::Kind::join) {
        for (const auto& [task, piece] : late) begin(*task, piece);
        late.clear();
        joined_at = beside;
      } else if (work.node.beside) {
        late.emplace_back(&work, Piece{true, ++beside, forked_at});
      } else {
        begin(work, {false, ++main, joined_at});
      }
    }
  }

  std::string describe(const HazardCheck::Finding& f) const {
    const auto name = [&](bool beside, std::size_t number) {
      for (const Work& work : work_)
        if (work.kind == Work::Kind::task && work.node.beside == beside && --number == 0)
          return fmt::format("{}{}", work.node.name, beside ? " beside the main queue" : "");
      return std::string("?");
    };
    return fmt::format(
        "cuda_sim: in a captured step {} {} memory (byte {} of a block of {}) that {} {}, and neither waits for the other: join "
        "the branch before, or give each its own memory",
        name(f.piece.beside, f.piece.number), f.write ? "writes" : "reads", f.offset, f.block_bytes,
        name(!f.piece.beside, f.other), f.other_wrote ? "writes" : "reads");
  }

  std::vector<Work> work_;
  mutable bool watched_ = false;
};

class SimQueue final : public Queue {
 public:
  /// `main`: the queue that this one is beside; null for a queue that can be captured itself.
  explicit SimQueue(SimQueue* main = nullptr) : Queue(Device::cuda_sim), main_(main) {}

  void fill_zero(void* pointer, std::size_t bytes) override {
    give(without_work("fill", bytes), [=](HazardCheck* check) {
      if (check != nullptr) check->touch(pointer, bytes, true);
      memory(Device::cuda_sim).fill_zero(pointer, bytes);
    });
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    give(without_work("copy", bytes), [=](HazardCheck* check) {
      if (check != nullptr) check->touch(from, bytes, false), check->touch(to, bytes, true);
      memory(Device::cuda_sim).copy(to, from, bytes);
    });
  }

  std::unique_ptr<Queue> beside() override { return std::make_unique<SimQueue>(main_ != nullptr ? main_ : this); }

  void wait_for(Queue& other) override {
    auto& queue = static_cast<SimQueue&>(other);
    if (main_ != nullptr) {
      forked_ = &queue == main_ && queue.capturing_;
      if (forked_) queue.work_.push_back({Work::Kind::fork});
    } else if (capturing_) {
      work_.push_back({Work::Kind::join});
      queue.forked_ = false;
      open_branches_ = 0;
    }
  }

  bool can_capture() const override { return main_ == nullptr; }
  bool capturing() const override { return main_ != nullptr ? forked_ && main_->capturing_ : capturing_; }

  void begin_capture() override {
    check<DeviceError>(!capturing_, "cuda_sim: a capture within a capture");
    work_.clear();
    open_branches_ = 0;
    capturing_ = true;
  }

  std::unique_ptr<WorkGraph> end_capture() override {
    check<DeviceError>(open_branches_ == 0, "cuda_sim: the capture ends with {} tasks of a branch that nobody waits for",
                       open_branches_);
    capturing_ = false;
    return std::make_unique<SimGraph>(std::exchange(work_, {}));
  }

  void abandon_capture() noexcept override {
    capturing_ = false;
    work_.clear();
  }

  void launch(const WorkGraph& graph) override {
    expect_working("the launch of a graph");
    static_cast<const SimGraph&>(graph).run();
  }

  /// Runs the task, or keeps it. `what`: name and sizes, for the list of nodes.
  void give(const Launch& what, std::function<void(HazardCheck*)> task) {
    if (!capturing()) {
      task(nullptr);
      return;
    }
    SimQueue& queue = main_ != nullptr ? *main_ : *this;
    if (main_ != nullptr) ++queue.open_branches_;
    const auto sizes = [](const dim3& d) { return std::array{d.x, d.y, d.z}; };
    queue.work_.push_back({Work::Kind::task,
                           {what.name, sizes(what.grid), sizes(what.block), what.shared_bytes, main_ != nullptr},
                           std::move(task)});
  }

 private:
  SimQueue* main_;
  bool capturing_ = false;         // of a main queue
  bool forked_ = false;            // of a queue beside it: has waited for the main one since the capture began
  std::size_t open_branches_ = 0;  // tasks of branches since the last wait for one
  std::vector<Work> work_;
};

}  // namespace

std::unique_ptr<Queue> make_queue() { return std::make_unique<SimQueue>(); }

bool is_captured(const Queue& queue) { return queue.capturing(); }

void keep(Queue& queue, ThreadTeam& team, const Launch& launch, std::shared_ptr<const void> arguments) {
  static_cast<SimQueue&>(queue).give(launch, [&team, launch, arguments = std::move(arguments)](HazardCheck* check) {
    Launch job = launch;
    job.hazards = check;
    run(team, job);
  });
}

}  // namespace retort::sim
