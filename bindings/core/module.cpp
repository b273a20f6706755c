// cdisim._core: the types that policies see, and the functions over them, as the headers declare them. No
// simulation: SimGrid never runs in the caller's process.

#include <algorithm>
#include <map>

#include "bindings/core/core.h"
#include "sim/error.h"
#include "sim/resources.h"

namespace cdisim::python {

const char* doc(const std::string& qualified_name) {
  static const std::map<std::string, const char*> comments{
#include "docstrings.inc"
  };
  const auto found = comments.find(qualified_name);
  return found == comments.end() ? "" : found->second;
}

py::object to_python(const Json& json) {
  switch (json.type()) {
    case Json::value_t::object: {
      py::dict out;
      for (const auto& [key, value] : json.items()) out[py::str(key)] = to_python(value);
      return out;
    }
    case Json::value_t::array: {
      py::list out;
      for (const Json& value : json) out.append(to_python(value));
      return out;
    }
    case Json::value_t::string:
      return py::str(json.get_ref<const std::string&>());
    case Json::value_t::boolean:
      return py::bool_(json.get<bool>());
    case Json::value_t::number_integer:
      return py::int_(json.get<std::int64_t>());
    case Json::value_t::number_unsigned:
      return py::int_(json.get<std::uint64_t>());
    case Json::value_t::number_float:
      return py::float_(json.get<double>());
    default:
      return py::none();
  }
}

Json to_json(const py::handle& object) {
  const auto text = py::module_::import("json").attr("dumps")(object).cast<std::string>();
  return parse_json(text, "value");
}

}  // namespace cdisim::python

PYBIND11_MODULE(_core, module) {
  namespace py = pybind11;
  using namespace cdisim;
  module.doc() = "What policies see and make, as the C++ headers declare it.";
  // Never freed: exceptions may come as long as the interpreter runs.
  static const py::handle input_error =
      py::object(py::module_::import("cdisim.errors").attr("InputError")).release();
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const InputError& e) {
      PyErr_SetString(input_error.ptr(), e.what());
    }
  });

  const std::vector<std::string> kinds{"experiment", "platform", "model",      "latency model",
                                       "hardware",   "networks", "uav_models", "trained network"};
  const auto kind_of = [kinds](const std::string& kind) {
    const auto found = std::find(kinds.begin(), kinds.end(), kind);
    if (found == kinds.end())
      throw InputError("kind", "\"" + kind + "\" is no kind of file" + valid_choices(kind, kinds));
    return static_cast<Resource>(found - kinds.begin());
  };
  module.def("set_program", &set_program, python::doc("set_program"), py::arg("program"));
  module.def("version", &version, python::doc("version"));
  module.def(
      "find_resource",
      [kind_of](const std::string& kind, const std::string& name) {
        return find_resource(kind_of(kind), name, "", kind);
      },
      python::doc("find_resource"), py::arg("kind"), py::arg("name"));
  module.def(
      "list_resources", [kind_of](const std::string& kind) { return list_resources(kind_of(kind)); },
      python::doc("list_resources"), py::arg("kind"));
  python::add_graph(module);
  python::add_platform(module);
  python::add_plan(module);
  python::add_problem(module);
  python::add_edge_offload(module);
}
