// optimizer — gradient norm, clipping and AdamW (Loshchilov & Hutter 2019, in torch.optim.AdamW's order), over one
// chunk of the arenas at a time.
//   norm_partial  partials[first_partial + w] = Σ g²   over the 4096 elements of workgroup w
//   norm_total    norm = sqrt(Σ partials)              clip = min(1, max_norm / (norm + 1e-6)), 1 where max_norm is 0
//   adamw         g = clip · gradient
//                 p ← p · decay                        decay = 1 − lr · weight_decay
//                 m ← m + (1 − β1)·(g − m)
//                 v ← β2·v + (1 − β2)·g²
//                 p ← p − step_size · m / (sqrt(v) / sqrt(1 − β2ᵗ) + eps)       step_size = lr / (1 − β1ᵗ)
//   tie           p ← p · decay − step_size · m / (…) once more, by the moments of p's twin;  twin ← pᵀ
// PyTorch holds tied factors as two parameters of one storage: each has its gradient, moments and update, one after the
// other. Here they are two tensors of a chunk, p [rows, columns] at `first` and its twin [columns, rows] at `second`.
// p, gradient, m, v [elements], elements a multiple of 64; groups [elements / 64]: the parameter group of each block.
// hyper [8] and group_hyper [groups, 4] hold what the host has computed in float64 (see src/ops/optimizer.ts).
// Absent: clearing the gradients. They stay readable until the next step begins.
struct Params {
  quads: u32,
  first_partial: u32,
  partial_count: u32,
  first: u32,
  second: u32,
  rows: u32,
  columns: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials_out: array<f32>;
@group(0) @binding(4) var<storage, read> partials: array<f32>;
@group(0) @binding(5) var<storage, read> hyper: array<f32>;
@group(0) @binding(6) var<storage, read_write> scalars_out: array<f32>;
@group(0) @binding(7) var<storage, read> scalars: array<f32>;
@group(0) @binding(8) var<storage, read> group_hyper: array<vec4f>;
@group(0) @binding(9) var<storage, read> groups_of_blocks: array<u32>;
@group(0) @binding(10) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> first_moment: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> second_moment: array<vec4f>;
// The parameters again, for `tie`, which goes element by element.
@group(0) @binding(13) var<storage, read_write> elements: array<f32>;

// Places in `hyper`.
const ONE_MINUS_BETA1 = 0u;
const BETA2 = 1u;
const ONE_MINUS_BETA2 = 2u;
const EPSILON = 3u;
const SQRT_BIAS2 = 4u;
const MAX_NORM = 5u;
// Places in `scalars`; [0] is the loss.
const GRAD_NORM = 1u;
const CLIP_FACTOR = 2u;

const LANES = 256u;
const QUADS_PER_LANE = 4u;
const QUADS_PER_BLOCK = 16u;
var<workgroup> tree: array<f32, LANES>;

// A fixed tree: the same bytes on every run, and an error that grows with the depth, not with the count.
fn group_sum(lane: u32, value: f32) -> f32 {
  tree[lane] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      tree[lane] += tree[lane + half];
    }
    workgroupBarrier();
  }
  return tree[0];
}

@compute @workgroup_size(LANES)
fn norm_partial(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) lane: u32) {
  let part = flat_workgroup(group, groups);
  let start = part * LANES * QUADS_PER_LANE;
  var squares = vec4f();
  for (var k = 0u; k < QUADS_PER_LANE; k++) {
    let i = start + k * LANES + lane;
    if (i < params.quads) {
      squares += gradients[i] * gradients[i];
    }
  }
  let sum = group_sum(lane, (squares.x + squares.y) + (squares.z + squares.w));
  if (lane == 0u && start < params.quads) {
    partials_out[params.first_partial + part] = sum;
  }
}

// One workgroup.
@compute @workgroup_size(LANES)
fn norm_total(@builtin(local_invocation_index) lane: u32) {
  var squares = 0.0;
  for (var i = lane; i < params.partial_count; i += LANES) {
    squares += partials[i];
  }
  let norm = sqrt(group_sum(lane, squares));
  if (lane == 0u) {
    let most = hyper[MAX_NORM];
    scalars_out[GRAD_NORM] = norm;
    scalars_out[CLIP_FACTOR] = select(1.0, min(1.0, most / (norm + 1e-6)), most > 0.0);
  }
}

// One invocation four elements.
@compute @workgroup_size(LANES)
fn adamw(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
         @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= params.quads) {
    return;
  }
  let of_group = group_hyper[groups_of_blocks[i / QUADS_PER_BLOCK]];
  let decay = of_group.x;
  let step_size = of_group.y;
  let g = gradients[i] * scalars[CLIP_FACTOR];
  let m = first_moment[i] + hyper[ONE_MINUS_BETA1] * (g - first_moment[i]);
  let v = hyper[BETA2] * second_moment[i] + hyper[ONE_MINUS_BETA2] * g * g;
  let denominator = sqrt(v) / hyper[SQRT_BIAS2] + hyper[EPSILON];
  parameters[i] = parameters[i] * decay - step_size * m / denominator;
  first_moment[i] = m;
  second_moment[i] = v;
}

// One invocation an element, after `adamw` has been over both tensors.
@compute @workgroup_size(LANES)
fn tie(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
       @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= params.rows * params.columns) {
    return;
  }
  let twin = params.second + i % params.columns * params.rows + i / params.columns;
  let of_group = group_hyper[groups_of_blocks[twin / (4u * QUADS_PER_BLOCK)]];
  let m = first_moment[twin / 4u][twin % 4u];
  let v = second_moment[twin / 4u][twin % 4u];
  let denominator = sqrt(v) / hyper[SQRT_BIAS2] + hyper[EPSILON];
  let p = elements[params.first + i] * of_group.x - of_group.y * m / denominator;
  elements[params.first + i] = p;
  elements[twin] = p;
}
