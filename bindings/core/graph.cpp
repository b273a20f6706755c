#include "bindings/core/core.h"
#include "sim/layer_graph.h"

namespace cdisim::python {

void add_graph(py::module_& module) {
  module.attr("kInput") = kInput;
  Class<Layer> layer(module, "Layer");
  layer.field("name", &Layer::name)
      .property("kind", [](const Layer& self) { return std::string(layer_kind_name(self.kind)); })
      .field("inputs", &Layer::inputs)
      .field("output_shape", &Layer::output_shape)
      .field("kernel", &Layer::kernel)
      .field("stride", &Layer::stride)
      .field("padding", &Layer::padding)
      .field("dilation", &Layer::dilation)
      .field("groups", &Layer::groups)
      .field("steps", &Layer::steps)
      .field("macs", &Layer::macs)
      .field("work_flop", &Layer::work_flop)
      .field("weight_bytes", &Layer::weight_bytes)
      .field("output_bytes", &Layer::output_bytes)
      .field("state_bytes", &Layer::state_bytes);
  (*layer).def("__repr__", [](const Layer& self) { return "<cdisim.Layer " + self.name + ">"; });

  Class<LayerCosts>(module, "LayerCosts")
      .field("work_flop", &LayerCosts::work_flop)
      .field("weight_bytes", &LayerCosts::weight_bytes)
      .field("state_bytes", &LayerCosts::state_bytes)
      .field("input_elements", &LayerCosts::input_elements)
      .field("output_elements", &LayerCosts::output_elements)
      .field("input_bytes", &LayerCosts::input_bytes)
      .field("output_bytes", &LayerCosts::output_bytes);

  Class<Exit>(module, "Exit")
      .field("name", &Exit::name)
      .field("layer", &Exit::layer)
      .field("accuracy", &Exit::accuracy)
      .field("rate", &Exit::rate)
      .field("accuracy_source", &Exit::accuracy_source)
      .field("rate_source", &Exit::rate_source);

  Class<Threshold>(module, "Threshold")
      .field("value", &Threshold::value)
      .field("rates", &Threshold::rates)
      .field("accuracies", &Threshold::accuracies)
      .field("source", &Threshold::source);

  using Graph = LayerGraph;
  Class<Graph, std::shared_ptr<Graph>> graph(module, "LayerGraph");
  (*graph)
      .def_static("load", &Graph::load, graph.comment("load"), py::arg("path"))
      .def_static(
          "parse",
          [](const py::object& json, const std::string& file) { return Graph::parse(to_json(json), file); },
          "The graph that a dict of the same form as a file holds.", py::arg("json"),
          py::arg("file") = "graph")
      .def("__repr__", [](const Graph& self) {
        return "<cdisim.LayerGraph " + self.name() + ": " + std::to_string(self.size()) + " layers>";
      });
  graph.function("name", &Graph::name)
      .function("source", &Graph::source)
      .function("precision", &Graph::precision)
      .function("to_json", [](const Graph& self) { return to_python(self.to_json()); })
      .function("text", &Graph::text)
      .function("bytes_per_element", &Graph::bytes_per_element)
      .function("input_bytes", &Graph::input_bytes)
      .function("size", &Graph::size)
      .function(
          "layer", [](const Graph& self, LayerId id) -> const Layer& { return self.layer(at(self, id)); },
          py::arg("id"), py::return_value_policy::reference_internal)
      .function("layers",
                [](const py::object& self) { return references(self.cast<const Graph&>().layers(), self); })
      .function(
          "consumers",
          [](const Graph& self, LayerId id) {
            if (id != kInput) at(self, id);
            return frozen(std::vector<LayerId>(self.consumers(id).begin(), self.consumers(id).end()));
          },
          py::arg("id"))
      .function("find", &Graph::find, py::arg("name"))
      .function("exits",
                [](const py::object& self) { return references(self.cast<const Graph&>().exits(), self); })
      .function(
          "thresholds",
          [](const py::object& self) { return references(self.cast<const Graph&>().thresholds(), self); })
      .function(
          "exit_layers",
          [](const Graph& self, int exit) {
            const auto layers =
                self.exit_layers(static_cast<int>(checked(exit, static_cast<int>(self.exits().size()))));
            return frozen(std::vector<LayerId>(layers.begin(), layers.end()));
          },
          py::arg("exit"))
      .function(
          "input_elements", [](const Graph& self, LayerId id) { return self.input_elements(at(self, id)); },
          py::arg("id"))
      .function(
          "output_elements", [](const Graph& self, LayerId id) { return self.output_elements(at(self, id)); },
          py::arg("id"))
      .function(
          "input_shape",
          [](const Graph& self, std::optional<LayerId> id) {
            return frozen(id ? self.input_shape(at(self, *id)) : self.input_shape());
          },
          py::arg("id") = py::none())
      .function(
          "tensor_shape",
          [](const Graph& self, LayerId id) {
            return frozen(self.tensor_shape(id == kInput ? id : at(self, id)));
          },
          py::arg("id"))
      .function(
          "tensor_bytes",
          [](const Graph& self, LayerId id) { return self.tensor_bytes(id == kInput ? id : at(self, id)); },
          py::arg("id"))
      .function(
          "costs", [](const Graph& self, LayerId id) { return self.costs(at(self, id)); }, py::arg("id"))
      .function(
          "traffic_bytes",
          [](const Graph& self, LayerId id, int batch) { return self.traffic_bytes(at(self, id), batch); },
          py::arg("id"), py::arg("batch") = 1)
      .function("parameters", &Graph::parameters)
      .function("macs", &Graph::macs)
      .function("weight_bytes", [](const Graph& self) { return self.weight_bytes(); })
      .function("state_bytes", [](const Graph& self) { return self.state_bytes(); });

  Class<Range> range(module, "Range");
  (*range)
      .def(py::init([](int begin, int end) {
             return Range{begin, end};
           }),
           py::arg("begin"), py::arg("end"))
      .def(py::init([](const std::pair<int, int>& ends) {
        return Range{ends.first, ends.second};
      }))
      .def("__eq__", [](const Range& a, const Range& b) { return a == b; })
      .def("__repr__", [](const Range& self) {
        return "cdisim.Range(" + std::to_string(self.begin) + ", " + std::to_string(self.end) + ")";
      });
  range.field("begin", &Range::begin).field("end", &Range::end).function("size", &Range::size);
  py::implicitly_convertible<py::tuple, Range>();

  const auto graph_arg = py::arg("graph");
  module.def("whole", &whole, doc("whole"), py::arg("shape"));
  module.def("elements", &elements, doc("elements"), py::arg("region"));
  module.def("contains", &contains, doc("contains"), py::arg("outer"), py::arg("inner"));
  module.def("intersect", &intersect, doc("intersect"), py::arg("a"), py::arg("b"));
  module.def("hull", &hull, doc("hull"), py::arg("a"), py::arg("b"));
  module.def(
      "subtract", [](const Region& a, const Region& b) { return subtract(a, b); }, doc("subtract"),
      py::arg("a"), py::arg("b"));
  module.def(
      "split", [](int extent, const std::vector<double>& shares) { return split(extent, shares); },
      doc("split"), py::arg("extent"), py::arg("shares"));
  module.def("slab", &slab, doc("slab"), py::arg("shape"), py::arg("dimension"), py::arg("range"));
  module.def("split_rows", &split_rows, doc("split_rows"), py::arg("shape"), py::arg("n"));
  module.def(
      "input_region",
      [](const Graph& g, LayerId layer_id, const Region& output, std::size_t input) {
        return input_region(g, at(g, layer_id), output, input);
      },
      doc("input_region"), graph_arg, py::arg("layer"), py::arg("output"), py::arg("input"));
  module.def(
      "part_costs",
      [](const Graph& g, LayerId layer_id, const Region& output) {
        return part_costs(g, at(g, layer_id), output);
      },
      doc("part_costs"), graph_arg, py::arg("layer"), py::arg("output"));
  module.def(
      "fuse",
      [](const Graph& g, const std::vector<LayerId>& layers, const Parts& outputs) {
        for (const LayerId id : layers) at(g, id);
        return fuse(g, layers, outputs);
      },
      doc("fuse"), graph_arg, py::arg("layers"), py::arg("outputs"));
}

}  // namespace cdisim::python
