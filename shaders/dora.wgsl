// dora — LoRA with a magnitude for every row of W (Liu et al. 2024): W + s·B·A gives a row its direction, m its length.
//   norm                n  = w + e / (w + √(w² + e))      e = Σ_k u·(2·W + u),  u = s·(B·A + B₀·A₀)  (e = n² − w²)
//   forward             y  = (1 + h) ⊙ z + bias + so_far   h = (m − n) / n,  z = x·(W + s·B·A)ᵀ
//   forward_added       y += h ⊙ z                         for a z whose x was dropped
//   backward_input      dz = (1 + h) ⊙ dy, or h ⊙ dy
//   backward_magnitude  dm += Σ_rows dy ⊙ z / n
// There is no dn: the norm counts as a constant, as the paper has it (section 4.3). Nor is there ever W + s·B·A, but for
// the four by four of it that an invocation of `norm` holds.
// A₀ and B₀ are the second pair of lora.wgsl, where there is one. Where B is zero, or the pairs cancel, so are u and e, to
// the bit; then n = w = m and h = 0: the adapter changes nothing.
// y, dy, so_far [rows, stride] and z, dz [rows, z_stride], of which the slice of W at hand owns `out` columns, from
// `column` and `z_column` on; W [out, width], m, dm, n, bias [out]; w [out], the norms of W's own rows; A, A₀ [rank, width]
// and B, B₀ [out, rank] lie in an arena, reached by offset.
struct Params {
  rows_extent: u32,
  out: u32,
  width: u32,
  stride: u32,
  column: u32,
  z_stride: u32,
  z_column: u32,
  rank: u32,
  a: u32,
  b: u32,
  has_start: u32,
  start_a: u32,
  start_b: u32,
  scale: u32,
  is_added: u32,
  has_stretch: u32,
  has_bias: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> arena: array<f32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<f32>;
@group(0) @binding(5) var<storage, read_write> norm_out: array<f32>;
@group(0) @binding(6) var<storage, read> m: array<f32>;
@group(0) @binding(7) var<storage, read> n: array<f32>;
@group(0) @binding(8) var<storage, read> z: array<f32>;
@group(0) @binding(9) var<storage, read> bias: array<f32>;
@group(0) @binding(10) var<storage, read> so_far: array<f32>;
@group(0) @binding(11) var<storage, read_write> y: array<f32>;
@group(0) @binding(12) var<storage, read> dy: array<f32>;
@group(0) @binding(13) var<storage, read_write> dz: array<f32>;
@group(0) @binding(14) var<storage, read_write> dm: array<f32>;

// Invocations that share four rows of W, a power of two: src/ops/tiles.ts says how many.
override LANES: u32 = 64;
const GROUP = 64u;
var<workgroup> partial: array<vec4f, LANES>;

// Four from `first` on, the last of `count` again where there are fewer.
fn four(first: u32, count: u32) -> vec4u {
  return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u));
}

fn factor(at: vec4u) -> vec4f {
  return vec4f(arena[at.x], arena[at.y], arena[at.z], arena[at.w]);
}

fn w_four(row: u32, feature: vec4u) -> vec4f {
  let at = row * params.width + feature;
  return vec4f(weight(at.x), weight(at.y), weight(at.z), weight(at.w));
}

// Four features of B·A in four rows.
fn product(a_start: u32, b_start: u32, row: vec4u, feature: vec4u) -> mat4x4f {
  var sum = mat4x4f();
  for (var j = 0u; j < params.rank; j++) {
    let b = factor(b_start + row * params.rank + j);
    let a = factor(a_start + j * params.width + feature);
    sum += mat4x4f(b.x * a, b.y * a, b.z * a, b.w * a);
  }
  return sum;
}

// What four features of a row add to e.
fn grown(row: u32, feature: vec4u, u: vec4f) -> f32 {
  return dot(u, 2.0 * w_four(row, feature) + u);
}

// One workgroup four rows of W. A fixed tree, so that the sums have the same bytes on every run.
@compute @workgroup_size(LANES)
fn norm(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let first = flat_workgroup(group, groups) * 4u;
  let row = four(first, params.out);
  var sum = vec4f();
  for (var k = lane * 4u; k < params.width; k += LANES * 4u) {
    let feature = four(k, params.width);
    var u = product(params.a, params.b, row, feature);
    if (params.has_start != 0u) {
      u += product(params.start_a, params.start_b, row, feature);
    }
    // Features past the last are the last again, and count for nothing.
    let counts = select(vec4f(), vec4f(scales[params.scale]), vec4u(k) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.width));
    sum += vec4f(
      grown(row.x, feature, u[0] * counts), grown(row.y, feature, u[1] * counts),
      grown(row.z, feature, u[2] * counts), grown(row.w, feature, u[3] * counts));
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  let o = first + lane;
  if (lane >= 4u || o >= params.out) {
    return;
  }
  let w = lengths[o];
  let e = partial[0][lane];
  norm_out[o] = w + e / (w + sqrt(max(w * w + e, 0.0)));
}

fn stretch(o: u32) -> f32 {
  return (m[o] - n[o]) / n[o];
}

@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * GROUP + lane;
  let t = i / params.out;
  let o = i % params.out;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  let at = t * params.stride + params.column + o;
  var sum = z[t * params.z_stride + params.z_column + o];
  if (params.has_stretch != 0u) {
    sum *= 1.0 + stretch(o);
  }
  if (params.has_bias != 0u) {
    sum += bias[o];
  }
  if (params.has_so_far != 0u) {
    sum += so_far[at];
  }
  y[at] = sum;
}

@compute @workgroup_size(GROUP)
fn forward_added(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * GROUP + lane;
  let t = i / params.out;
  let o = i % params.out;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  y[t * params.stride + params.column + o] += stretch(o) * z[t * params.z_stride + params.z_column + o];
}

@compute @workgroup_size(GROUP)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * GROUP + lane;
  let t = i / params.out;
  let o = i % params.out;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  var share = 1.0 - f32(params.is_added);
  if (params.has_stretch != 0u) {
    share += stretch(o);
  }
  dz[t * params.z_stride + params.z_column + o] = share * dy[t * params.stride + params.column + o];
}

// One invocation a column: neighbours read neighbouring columns of each row.
@compute @workgroup_size(GROUP)
fn backward_magnitude(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                      @builtin(local_invocation_index) lane: u32) {
  let o = flat_workgroup(group, groups) * GROUP + lane;
  if (o >= params.out) {
    return;
  }
  var sum = 0.0;
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    sum += dy[t * params.stride + params.column + o] * z[t * params.z_stride + params.z_column + o];
  }
  dm[o] += sum / n[o];
}
