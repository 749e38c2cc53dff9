// The results table in the terminal.
#pragma once

#include "retort/distill/run_record.h"

#include <ostream>
#include <span>

namespace retort {

struct TableStyle {
  bool box = false;         ///< Unicode rules; else plain columns that awk and diff can read
  bool colour = false;      ///< bold best values, dim paper rows
  std::size_t columns = 0;  ///< of the terminal: a narrower one gets no validation columns; 0: as wide as it takes
};

/// For the file descriptor the table goes to: box on a terminal, colour there too unless NO_COLOR is set or TERM is "dumb".
TableStyle table_style(int file_descriptor);

/// A row a run, grouped by data and split, with the paper's figures below each run where there are any. Synthetic data is named.
void print_table(std::ostream& out, std::span<const RunRecord> runs, const TableStyle& style);

}  // namespace retort
