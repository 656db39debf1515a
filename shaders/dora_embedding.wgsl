// dora_embedding — the norms that DoRA needs of a table: each feature has one, over all ids (as PEFT has it).
//   growth  growths[p, o] = Σ_k u·(2·W[k, o] + u) over the ids k of part p      u = s·B[o]·A[:, k]
//   norm    n = w + e / (w + √(w² + e))                                         e = Σ_p growths[p]  (e = n² − w²)
// The rest of DoRA on an embedding is that of every module: `forward`, `backward_input` and `backward_magnitude` of
// dora.wgsl. Where A is zero, so are u and e, to the bit, and n = w.
// A slice of the table, W [count, width], holds the ids from `start` on, and its parts those from first_part on of
// growths [parts, width]; A [rank, a_stride] and B [width, rank] lie in an arena, reached by offset; w, n [width].
struct Params {
  count: u32,
  width: u32,
  start: u32,
  first_part: u32,
  parts: u32,
  rank: u32,
  a: u32,
  a_stride: u32,
  b: u32,
  scale: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> arena: array<f32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> growths_out: array<f32>;
@group(0) @binding(5) var<storage, read> growths: array<f32>;
@group(0) @binding(6) var<storage, read> lengths: array<f32>;
@group(0) @binding(7) var<storage, read_write> norm_out: array<f32>;

const LANES = 64u;
// Ids of a part.
const PART = 256u;

// One invocation a feature and part: neighbours read neighbouring features of each id.
@compute @workgroup_size(LANES)
fn growth(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
          @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let first = i / params.width * PART;
  let o = i % params.width;
  if (first >= params.count) {
    return;
  }
  var sum = 0.0;
  for (var k = first; k < min(first + PART, params.count); k++) {
    var u = 0.0;
    for (var j = 0u; j < params.rank; j++) {
      u += arena[params.b + o * params.rank + j] * arena[params.a + j * params.a_stride + params.start + k];
    }
    u *= scales[params.scale];
    sum += u * (2.0 * weight(k * params.width + o) + u);
  }
  growths_out[params.first_part * params.width + i] = sum;
}

// One invocation a feature.
@compute @workgroup_size(LANES)
fn norm(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let o = flat_workgroup(group, groups) * LANES + lane;
  if (o >= params.width) {
    return;
  }
  var e = 0.0;
  for (var p = 0u; p < params.parts; p++) {
    e += growths[p * params.width + o];
  }
  let w = lengths[o];
  norm_out[o] = w + e / (w + sqrt(max(w * w + e, 0.0)));
}
