// A TensorFlow session whose graph grows, for JavaScript: opened, added to, run and closed. tfjs-node's own sessions are read from
// files, take no options, look names up at every run and hand out tensors only.
#include "session.h"

#include <cstring>
#include <exception>
#include <memory>
#include <thread>

#include "binding/tfjs_backend.h"
#include "demand.h"
#include "javascript.h"
#include "pairs.h"
#include "signals.h"

namespace {

using Handles = std::unordered_map<int32_t, TFE_TensorHandle*>;
Handles& handles_of(tfnodejs::TFJSBackend& backend);
/** An instantiation may name what is private: tfjs-node has no function for the tensor behind an id. */
template <auto member> struct Opened {
  friend Handles& handles_of(tfnodejs::TFJSBackend& backend) { return backend.*member; }
};
template struct Opened<&tfnodejs::TFJSBackend::tfe_handle_map_>;

template <auto destroy> struct Destroy {
  template <class X> void operator()(X* x) const { destroy(x); }
};
template <class X, auto destroy> using Owned = std::unique_ptr<X, Destroy<destroy>>;
using Tensor = Owned<TF_Tensor, TF_DeleteTensor>;

class Status {
 public:
  operator TF_Status*() const { return status_.get(); }
  void check(const char* what = "") const {
    if (TF_GetCode(*this) != TF_OK) throw std::runtime_error(std::string(what) + TF_Message(*this));
  }

 private:
  Owned<TF_Status, TF_DeleteStatus> status_{TF_NewStatus()};
};

std::string text_of(napi_env env, napi_value value) {
  size_t length = 0;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "a string");
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

std::vector<napi_value> list_of(napi_env env, napi_value list) {
  uint32_t length = 0;
  check(napi_get_array_length(env, list, &length), "a list");
  std::vector<napi_value> values(length);
  for (uint32_t i = 0; i < length; i++) napi_get_element(env, list, i, &values[i]);
  return values;
}

/** Of a graph's input or output: which it is, and its numbers. A size of -1 is not known before a run. */
struct Place {
  TF_Output output;
  TF_DataType dtype;
  std::vector<int64_t> shape;
};

class Session {
 public:
  explicit Session(const Bytes& config) {
    Owned<TF_SessionOptions, TF_DeleteSessionOptions> options(TF_NewSessionOptions());
    const Status status;
    TF_SetConfig(options.get(), config.data, config.length, status);
    status.check();
    session_ = TF_NewSession(graph_.get(), options.get(), status);
    status.check();
  }
  ~Session() { close(); }

  void close() {
    if (!session_) return;
    const Status ignored;
    TF_CloseSession(session_, ignored);
    TF_DeleteSession(session_, ignored);
    session_ = nullptr;
    graph_.reset();
  }

  /** Adds a GraphDef's nodes, `prefix` and a slash before their names; none of them if TensorFlow refuses one. */
  void add(const Bytes& graph_def, const std::string& prefix) {
    assert_open();
    Owned<TF_Buffer, TF_DeleteBuffer> buffer(TF_NewBufferFromString(graph_def.data, graph_def.length));
    Owned<TF_ImportGraphDefOptions, TF_DeleteImportGraphDefOptions> options(TF_NewImportGraphDefOptions());
    TF_ImportGraphDefOptionsSetPrefix(options.get(), prefix.c_str());
    const Status status;
    TF_GraphImportGraphDef(graph_.get(), buffer.get(), options.get(), status);
    status.check();
  }

  /** Where `node` or `node:output` is. */
  Place find(const std::string& ref) const {
    assert_open();
    const size_t colon = ref.find(':');
    const int output = colon == std::string::npos ? 0 : std::stoi(ref.substr(colon + 1));
    TF_Operation* const op = TF_GraphOperationByName(graph_.get(), ref.substr(0, colon).c_str());
    if (!op) throw std::runtime_error("session: the graph has no node " + ref);
    Place place{{op, output}, TF_FLOAT, {}};
    if (output >= TF_OperationNumOutputs(op)) return place; // of a node that is run for its effect
    const Status status;
    place.dtype = TF_OperationOutputType(place.output);
    const int rank = TF_GraphGetTensorNumDims(graph_.get(), place.output, status);
    status.check();
    place.shape.assign(std::max(0, rank), -1);
    TF_GraphGetTensorShape(graph_.get(), place.output, place.shape.data(), rank, status);
    status.check();
    return place;
  }

  std::vector<Tensor> run(
    const std::vector<TF_Output>& inputs, const std::vector<Tensor>& values, const std::vector<TF_Output>& outputs,
    const std::vector<const TF_Operation*>& targets
  ) {
    assert_open();
    std::vector<TF_Tensor*> fed, fetched(outputs.size(), nullptr);
    for (const Tensor& value : values) fed.push_back(value.get());
    const Status status;
    TF_SessionRun(
      session_, nullptr, inputs.data(), fed.data(), inputs.size(), outputs.data(), fetched.data(), outputs.size(),
      targets.data(), targets.size(), nullptr, status
    );
    std::vector<Tensor> results;
    for (TF_Tensor* tensor : fetched) results.emplace_back(tensor);
    status.check("session: a run failed: ");
    return results;
  }

 private:
  void assert_open() const {
    if (!session_) throw std::runtime_error("session: it is closed");
  }

  Owned<TF_Graph, TF_DeleteGraph> graph_{TF_NewGraph()};
  TF_Session* session_ = nullptr;
};

/** What is fed and fetched in a run, found once. */
struct Run {
  std::shared_ptr<Session> session;
  std::vector<Place> feeds;
  std::vector<TF_Output> inputs, outputs;
  std::vector<const TF_Operation*> targets;

  std::vector<Tensor> operator()(const std::vector<Tensor>& values) const {
    if (values.size() != inputs.size()) throw std::runtime_error("session: expected a value for each input");
    return session->run(inputs, values, outputs, targets);
  }
};

using SharedSession = std::shared_ptr<Session>;

template <class X> napi_value external(napi_env env, X x) {
  napi_value value = nullptr;
  const auto destroy = [](napi_env, void* data, void*) {
    const SignalsBlocked meanwhile;
    delete static_cast<X*>(data);
  };
  check(napi_create_external(env, new X(std::move(x)), destroy, nullptr, &value), "room");
  return value;
}

template <class X> X& external_of(napi_env env, napi_value value) {
  void* data = nullptr;
  check(napi_get_value_external(env, value, &data), "what openSession or prepareRun returned");
  return *static_cast<X*>(data);
}

/** The tensor that tfjs-node knows by an id: on a processor its own memory. */
Tensor tensor_of(napi_env env, int32_t id) {
  tfnodejs::TFJSBackend* backend = nullptr;
  napi_get_instance_data(env, reinterpret_cast<void**>(&backend));
  const Handles& handles = handles_of(*backend);
  const auto found = handles.find(id);
  if (found == handles.end()) throw std::runtime_error("session: no tensor has the id " + std::to_string(id));
  const Status status;
  Tensor tensor(TFE_TensorHandleResolve(found->second, status));
  status.check();
  return tensor;
}

/** A typed array's numbers, copied, or a tensor of tfjs-node's by its id. */
Tensor value_for(napi_env env, const Place& place, napi_value given) {
  int32_t id = 0;
  if (napi_get_value_int32(env, given, &id) == napi_ok) return tensor_of(env, id);
  const Bytes bytes = bytes_of(env, given);
  size_t expected = TF_DataTypeSize(place.dtype);
  for (const int64_t size : place.shape) expected *= size;
  if (bytes.length != expected) {
    throw std::runtime_error(
      std::string("session: ") + TF_OperationName(place.output.oper) + " was given " + std::to_string(bytes.length) +
      " bytes, expected " + std::to_string(expected)
    );
  }
  Tensor tensor(TF_AllocateTensor(place.dtype, place.shape.data(), place.shape.size(), bytes.length));
  if (bytes.length > 0) std::memcpy(TF_TensorData(tensor.get()), bytes.data, bytes.length);
  return tensor;
}

/** `{ data, shape }`: the numbers copied; those of half precision as 16 bits each. */
napi_value numbers_of(napi_env env, const TF_Tensor* tensor) {
  const size_t bytes = TF_TensorByteSize(tensor), width = TF_DataTypeSize(TF_TensorType(tensor));
  if (width == 0) throw std::runtime_error("session: what was fetched is no numbers");
  const auto type = TF_TensorType(tensor) == TF_FLOAT ? napi_float32_array
    : width == 4                                      ? napi_int32_array
    : width == 2                                      ? napi_uint16_array
                                                      : napi_uint8_array;
  const size_t each = width == 4 ? 4 : width == 2 ? 2 : 1;
  napi_value buffer, data, shape, numbers;
  void* to = nullptr;
  check(napi_create_arraybuffer(env, bytes, &to, &buffer), "room for what was fetched");
  if (bytes > 0) std::memcpy(to, TF_TensorData(tensor), bytes);
  napi_create_typedarray(env, type, bytes / each, buffer, 0, &data);
  napi_create_array_with_length(env, TF_NumDims(tensor), &shape);
  for (int d = 0; d < TF_NumDims(tensor); d++) {
    napi_value size;
    napi_create_int64(env, TF_Dim(tensor, d), &size);
    napi_set_element(env, shape, d, size);
  }
  napi_create_object(env, &numbers);
  napi_set_named_property(env, numbers, "data", data);
  napi_set_named_property(env, numbers, "shape", shape);
  return numbers;
}

/** `openSession(config: Uint8Array)`: a session with an empty graph; `config` is a ConfigProto. */
napi_value open_session(napi_env env, const napi_value* given) {
  return external(env, std::make_shared<Session>(bytes_of(env, given[0])));
}

/** `extendSession(session, graphDef: Uint8Array, prefix: string)` */
napi_value extend_session(napi_env env, const napi_value* given) {
  external_of<SharedSession>(env, given[0])->add(bytes_of(env, given[1]), text_of(env, given[2]));
  return nullptr;
}

/** `prepareRun(session, feeds: string[], fetches: string[], targets: string[])`: what `run` takes. */
napi_value prepare_run(napi_env env, const napi_value* given) {
  Run run{external_of<SharedSession>(env, given[0]), {}, {}, {}, {}};
  const auto places = [&](napi_value refs) {
    std::vector<Place> found;
    for (napi_value ref : list_of(env, refs)) found.push_back(run.session->find(text_of(env, ref)));
    return found;
  };
  run.feeds = places(given[1]);
  for (const Place& feed : run.feeds) run.inputs.push_back(feed.output);
  for (const Place& fetch : places(given[2])) run.outputs.push_back(fetch.output);
  for (const Place& target : places(given[3])) run.targets.push_back(target.output.oper);
  return external(env, std::move(run));
}

/** A run in another thread, while this one, which is JavaScript's, does what the run demands of it. */
std::vector<Tensor> run_served(const Run& prepared, const std::vector<Tensor>& fed) {
  std::vector<Tensor> fetched;
  std::exception_ptr failure;
  Desk& desk = Desk::of_this_thread();
  desk.open();
  std::thread run([&] {
    try {
      fetched = prepared(fed);
    } catch (...) {
      failure = std::current_exception();
    }
    desk.close();
  });
  desk.serve();
  run.join();
  if (failure) std::rethrow_exception(failure);
  return fetched;
}

/**
 * `run(prepared, values: (TypedArray | number)[], served: boolean): { data, shape }[]`; a number is the id of a tensor of tfjs-node's.
 * `served`: nodes in other threads may demand something of JavaScript.
 */
napi_value run(napi_env env, const napi_value* given) {
  const Run& prepared = external_of<Run>(env, given[0]);
  const std::vector<napi_value> values = list_of(env, given[1]);
  std::vector<Tensor> fed;
  for (size_t i = 0; i < std::min(values.size(), prepared.feeds.size()); i++)
    fed.push_back(value_for(env, prepared.feeds[i], values[i]));
  bool served = false;
  napi_get_value_bool(env, given[2], &served);
  const std::vector<Tensor> fetched = served ? run_served(prepared, fed) : prepared(fed);
  napi_value results;
  napi_create_array_with_length(env, fetched.size(), &results);
  for (size_t i = 0; i < fetched.size(); i++) napi_set_element(env, results, i, numbers_of(env, fetched[i].get()));
  return results;
}

/** `pipe(from, to)`: feeds what one prepared run fetches to another, of any session; on a processor they then share its memory. */
napi_value pipe(napi_env env, const napi_value* given) {
  external_of<Run>(env, given[1])(external_of<Run>(env, given[0])({}));
  return nullptr;
}

/** `closeSession(session)`: frees its variables. */
napi_value close_session(napi_env env, const napi_value* given) {
  external_of<SharedSession>(env, given[0])->close();
  return nullptr;
}

/** `hasTiles()`: whether kernels multiply many rows with weights, as they are held, by the processor's tiles. */
napi_value has_tiles(napi_env env, const napi_value*) {
  napi_value has;
  napi_get_boolean(env, PROCESSOR.amx, &has);
  return has;
}

/** `hasPairs()`: whether kernels multiply many rows that may be rounded by pairs of bfloat16. */
napi_value has_pairs(napi_env env, const napi_value*) {
  napi_value has;
  napi_get_boolean(env, pairs_for(Format::BFLOAT16), &has);
  return has;
}

}  // namespace

std::vector<napi_property_descriptor> tinymoe_session_functions() {
  return {
    function<open_session>("openSession"), function<extend_session>("extendSession"),
    function<prepare_run>("prepareRun"),   function<run>("run"),
    function<pipe>("pipe"),                function<close_session>("closeSession"),
    function<has_tiles>("hasTiles"),       function<has_pairs>("hasPairs"),
  };
}
