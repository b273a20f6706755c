#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cdisim {

/// What `cdisim import` is told.
struct ImportOptions {
  std::filesystem::path model;            ///< the ONNX file
  std::filesystem::path out;              ///< layer graph to write; empty: the model's name in this folder
  std::string name;                       ///< of the layer graph; empty: the model's
  std::string precision;                  ///< empty: that of most weights
  std::optional<int> batch;               ///< size of the batch dimension, 0 where the file has none
  std::vector<std::string> input_shapes;  ///< "NAME=1,3,224,224", batch included
  bool json = false;                      ///< print the summary as JSON
};

/// Turns an ONNX file into a layer graph file and prints a summary. bindings/cdisim/onnx_import.py reads the
/// ONNX file, in the interpreter that CDISIM_PYTHON names (python3); its notes and errors go to standard
/// error as they are.
/// @returns the exit code: 0, or that of the Python program, which has said what is wrong (2: the file).
/// @throws InputError where the program or its result cannot be used or the output cannot be written.
int import_command(const ImportOptions& options);

}  // namespace cdisim
