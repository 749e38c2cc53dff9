// A program built with MPI. Rank 0 lends runs by messages of one number; a message's tag is the plan, so that a rank that is
// ahead of rank 0 waits for its turn. Nobody waits in a busy loop, as MPI's own blocking calls do: every core is wanted for
// training.
//
//   rank r → 0   lends me a run?     (no content)
//   rank 0 → r   the run's position in the plan, or -1: none that nobody has begun
//
// A rank that dies takes all with it (mpirun ends them, and they save checkpoints); whatever it had begun is free again, since
// locks on the run directories say who does what (distill/grid.h), and the next start goes on.
#include "retort/core/error.h"
#include "retort/examples/retort/ranks.h"

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace retort::command {
namespace {

constexpr std::int64_t none_left = -1;

void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

/// Rank 0's: its own list, from which a thread serves the others. While it lives, that thread alone calls MPI.
class Lender final : public RunSource {
 public:
  Lender(int plan, int borrowers, std::unique_ptr<ShareSource> share, const std::atomic<bool>& stop)
      : plan_(plan), borrowers_(borrowers), share_(std::move(share)), stop_(stop), thread_([this](const std::stop_token&) {
          serve();
        }) {}

  std::optional<std::size_t> next(const std::atomic<bool>& stop) override { return share_->next(stop); }
  void put_back(std::size_t run) override { share_->put_back(run); }

 private:
  void serve() {
    while (borrowers_ > 0 && !stop_.load()) {
      int asked = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, plan_, MPI_COMM_WORLD, &asked, &status);
      if (!asked) {
        nap();
        continue;
      }
      MPI_Recv(nullptr, 0, MPI_INT64_T, status.MPI_SOURCE, plan_, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      const auto run = share_->lend();
      const std::int64_t answer = run ? static_cast<std::int64_t>(*run) : none_left;
      MPI_Send(&answer, 1, MPI_INT64_T, status.MPI_SOURCE, plan_, MPI_COMM_WORLD);
      if (!run) --borrowers_;
    }
  }

  const int plan_;
  int borrowers_;  ///< ranks that have not been told yet that none is left
  const std::unique_ptr<ShareSource> share_;
  const std::atomic<bool>& stop_;
  std::jthread thread_;  ///< last: it uses the others
};

class Borrower final : public RunSource {
 public:
  explicit Borrower(int plan) : plan_(plan) {}

  std::optional<std::size_t> next(const std::atomic<bool>& stop) override {
    const std::lock_guard lock(mutex_);  // the threads of an ensemble ask one after another
    if (ended_) return std::nullopt;
    std::int64_t run = none_left;
    MPI_Request answer;
    MPI_Irecv(&run, 1, MPI_INT64_T, 0, plan_, MPI_COMM_WORLD, &answer);
    MPI_Send(nullptr, 0, MPI_INT64_T, 0, plan_, MPI_COMM_WORLD);
    for (int answered = 0; !answered; nap()) {
      MPI_Test(&answer, &answered, MPI_STATUS_IGNORE);
      if (stop.load() && !answered) {
        MPI_Cancel(&answer);
        MPI_Wait(&answer, MPI_STATUS_IGNORE);
        return std::nullopt;
      }
    }
    ended_ = run == none_left;
    return ended_ ? std::nullopt : std::optional(static_cast<std::size_t>(run));
  }
  void put_back(std::size_t) override {}  // rank 0 looks after what it lent

 private:
  const int plan_;
  std::mutex mutex_;
  bool ended_ = false;  ///< rank 0 has said so, and listens no more
};

class OpenMpi final : public Ranks {
 public:
  OpenMpi() {
    int given = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &given);
    check<DeviceError>(given >= MPI_THREAD_SERIALIZED, "this MPI library cannot be called from several threads in turn");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &here_);
    MPI_Comm_free(&here);
  }
  int rank() const override { return rank_; }
  int on_this_machine() const override { return here_; }
  std::unique_ptr<RunSource> source(int plan, std::unique_ptr<ShareSource> share, const std::atomic<bool>& stop) override {
    if (rank_ == 0) return std::make_unique<Lender>(plan, size_ - 1, std::move(share), stop);
    return std::make_unique<Borrower>(plan);
  }
  void leave() override { MPI_Finalize(); }

 private:
  int rank_ = 0, size_ = 1, here_ = 1;
};

}  // namespace

std::unique_ptr<Ranks> Ranks::join() {
  if (!std::getenv("OMPI_COMM_WORLD_SIZE") && !std::getenv("PMIX_RANK")) return nullptr;  // PMIX_RANK: Slurm's srun --mpi=pmix
  return std::make_unique<OpenMpi>();
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string all(text, static_cast<std::size_t>(length));
  return all.substr(0, all.find(','));
}

}  // namespace retort::command
