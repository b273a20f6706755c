#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/json_reader.h"
#include "sim/layer_graph.h"
#include "sim/region.h"

namespace cdisim::python {

namespace py = pybind11;

/// The comment of a name in the headers, such as "Problem::reachable"; empty where it has none.
const char* doc(const std::string& qualified_name);

py::object to_python(const Json& json);
Json to_json(const py::handle& object);

/// @throws IndexError where C++ trusts its caller.
inline std::size_t checked(int index, int size) {
  if (index < 0 || index >= size)
    throw py::index_error(std::to_string(index) + " is none of 0 to " + std::to_string(size - 1));
  return static_cast<std::size_t>(index);
}
inline LayerId at(const LayerGraph& graph, LayerId layer) {
  return static_cast<LayerId>(checked(layer, graph.size()));
}

// ---- values that Python sees: nobody changes a copy and believes to have changed the original ----

template <class T>
py::object frozen(const T& value) {
  return py::cast(value);
}
template <class T>
py::object frozen(const std::vector<T>& values) {
  return py::tuple(py::cast(values));
}
template <class K, class V>
py::object frozen(const std::map<K, V>& values) {
  return py::module_::import("types").attr("MappingProxyType")(py::cast(values));
}
/// Objects that belong to `owner`.
template <class T>
py::tuple references(std::span<const T> values, const py::object& owner) {
  py::tuple out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    out[i] = py::cast(&values[i], py::return_value_policy::reference_internal, owner);
  return out;
}

/// Adds fields and functions of a class under their C++ names, with their comments.
template <class C, class... Options>
class Class {
 public:
  Class(py::module_& module, const char* name) : name_(name), class_(module, name, doc(name)) {}

  py::class_<C, Options...>& operator*() { return class_; }

  template <class M>
  Class& field(const char* name, M C::*member) {
    class_.def_property_readonly(
        name, [member](const C& self) { return frozen(self.*member); }, comment(name));
    return *this;
  }
  template <class M>
  Class& variable(const char* name, M C::*member) {
    class_.def_property(
        name, [member](const C& self) { return frozen(self.*member); },
        [member](C& self, M value) { self.*member = std::move(value); }, comment(name));
    return *this;
  }
  template <class F, class... Extra>
  Class& function(const char* name, F f, const Extra&... extra) {
    class_.def(name, f, comment(name), extra...);
    return *this;
  }
  template <class F>
  Class& property(const char* name, F f) {
    class_.def_property_readonly(name, f, comment(name));
    return *this;
  }

  const char* comment(const char* name) const { return doc(name_ + "::" + name); }

 private:
  std::string name_;
  py::class_<C, Options...> class_;
};

// One file each.
void add_graph(py::module_& module);
void add_platform(py::module_& module);
void add_plan(py::module_& module);
void add_problem(py::module_& module);
void add_edge_offload(py::module_& module);

}  // namespace cdisim::python
