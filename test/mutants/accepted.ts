/** Mutants that may live, since no result of any run tells them from the shader, and why. */
export interface Accepted {
  /** Path under shaders/ without the ending. */
  readonly file: string;
  readonly fn: string;
  /** The line before and after, as the report prints them: an entry outlives the moving of lines. */
  readonly before: string;
  readonly after: string;
  readonly reason: string;
}

export const accepted: readonly Accepted[] = [
  {
    file: "embedding",
    fn: "",
    before: "const NONE = 0xffffffffu;",
    after: "const NONE = 0xfffffffeu;",
    reason: "Any number that is no row's serves.",
  },
  {
    file: "columns",
    fn: "forward",
    before: "if (t >= extent(params.rows_extent)) {",
    after: "if (t > extent(params.rows_extent)) {",
    reason:
      "Beyond the live rows it would copy what lies beyond p's: poison onto poison, which nobody reads.",
  },
  {
    file: "columns",
    fn: "forward",
    before: "return;",
    after: "",
    reason:
      "Beyond the live rows it would copy what lies beyond p's: poison onto poison, which nobody reads.",
  },
  {
    file: "swiglu",
    fn: "sigmoids",
    before: "return select(both.yx, both, g >= 0.0);",
    after: "return select(both.yx, both, g > 0.0);",
    reason: "At g = 0 both halves are ½: either order gives the same two numbers.",
  },
  {
    file: "gelu",
    fn: "",
    before: "const SATURATED = 16.0;",
    after: "const SATURATED = 17.6;",
    reason:
      "From 14 on p is 0 or 1 and p′ is 0 in f32: where beyond that the argument is held changes nothing.",
  },
  {
    file: "gelu",
    fn: "exact_gate",
    before: "if (a < 1.0) {",
    after: "if (a <= 1.0) {",
    reason: "Both polynomials hold at the seam itself, to the error that each has anyway.",
  },
  {
    file: "gelu",
    fn: "tanh_gate",
    before: "return vec2f(select(both.y, both.x, v >= 0.0), both.x * both.y * slope);",
    after: "return vec2f(select(both.y, both.x, v > 0.0), both.x * both.y * slope);",
    reason: "At v = 0 both halves are ½.",
  },
  {
    file: "headnorm",
    fn: "forward",
    before: "if (lane == 0u && normed) {",
    after: "if (lane == 1u && normed) {",
    reason: "Every lane holds the same scale: any one of them may store it.",
  },
  {
    file: "layernorm",
    fn: "forward",
    before: "if (lane == 0u) {",
    after: "if (!(lane == 0u)) {",
    reason: "Every lane holds the same mean and scale: all the others store what the first would.",
  },
  {
    file: "lora",
    fn: "four",
    before: "return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u));",
    after: "return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count + 1u));",
    reason:
      "Sums of those past the last are not stored. The bound keeps what is read within its tensor, which no result tells.",
  },
  {
    file: "lora",
    fn: "up",
    before: "return;",
    after: "",
    reason:
      "A row that is not adapted has rank 0, and its empty sum adds nothing to y: the return saves time.",
  },
  {
    file: "optimizer",
    fn: "norm_partial",
    before: "if (lane == 0u && start < params.quads) {",
    after: "if (lane != 0u && start < params.quads) {",
    reason: "Every lane holds the same sum: all the others store what the first would.",
  },
  {
    file: "optimizer",
    fn: "norm_partial",
    before: "if (lane == 0u && start < params.quads) {",
    after: "if (lane == 1u && start < params.quads) {",
    reason: "Every lane holds the same sum: any one of them may store it.",
  },
  {
    file: "crossentropy",
    fn: "ln_1p",
    before: "if (y > 0.41421356) {",
    after: "if (y >= 0.41421356) {",
    reason: "Both ways to the logarithm hold at the seam itself.",
  },
  {
    file: "crossentropy",
    fn: "total",
    before: "if (lane == 0u) {",
    after: "if (lane == 1u) {",
    reason: "Every lane holds the same sum: any one of them may store it.",
  },
  {
    file: "linear",
    fn: "forward_shared",
    before: "for (var k = 0u; k < params.width; k += STEPS) {",
    after: "for (var k = 0u; k <= params.width; k += STEPS) {",
    reason: "The round too many stages zeros: it adds nothing and takes time.",
  },
  {
    file: "linear",
    fn: "backward_input_shared",
    before: "for (var o = 0u; o < params.out; o += STEPS) {",
    after: "for (var o = 0u; o <= params.out; o += STEPS) {",
    reason: "The round too many stages zeros for dy: it adds nothing and takes time.",
  },
  {
    file: "linear/quad",
    fn: "backward_weight_quad",
    before: "for (var t = 0u; t < rows(); t += 4u) {",
    after: "for (var t = 0u; t <= rows(); t += 4u) {",
    reason: "The round too many reads zeros for dy: it adds nothing and takes time.",
  },
  {
    file: "linear",
    fn: "backward_weight_shared",
    before: "for (var t = 0u; t < rows(); t += STEPS) {",
    after: "for (var t = 0u; t <= rows(); t += STEPS) {",
    reason: "The round too many reads zeros for dy: it adds nothing and takes time.",
  },
  {
    file: "attention",
    fn: "",
    before: "const NONE = 0xffffffffu;",
    after: "const NONE = 0xfffffffeu;",
    reason: "Any number that is no row's will do.",
  },
  {
    file: "attention",
    fn: "next_seen",
    before: "return smallest(select(vec4u(NONE), max(span.first, vec4u(at)), span.end > vec4u(at)));",
    after: "return smallest(select(vec4u(NONE), max(span.first, vec4u(at)), span.end >= vec4u(at)));",
    reason: "The tile past the last key is met in vain: all of its pairs are hidden. It takes time.",
  },
  {
    file: "attention",
    fn: "has",
    before: "return k < QUADS;",
    after: "return k <= QUADS;",
    reason:
      "The sum too many is that of the next slice's first four, computed alike, or lies past the head and is not stored.",
  },
  {
    file: "attention",
    fn: "put_lse",
    before: "let found = select(vec4f(), highest + log(sum), sum > vec4f());",
    after: "let found = select(vec4f(), highest + log(sum), sum >= vec4f());",
    reason:
      "The logarithm of 0 is −88 on a software device, and decides nothing there; elsewhere it may be −∞, and must not get in.",
  },
  {
    file: "linear",
    fn: "backward_input_shared",
    before: "let w_row = min(o + deep, params.out - 1u) * (params.width / 4u);",
    after: "let w_row = min(o + deep, params.out + 1u) * (params.width / 4u);",
    reason:
      "Rows past the last meet zeros for dy. The bound is there for what is not finite behind W, which no test's buffer holds.",
  },
  {
    file: "linear",
    fn: "backward_weight_shared",
    before: "for (var n = lane; n < STEPS * SIDE; n += SIDE * SIDE) {",
    after: "for (var n = lane; n <= STEPS * SIDE; n += SIDE * SIDE) {",
    reason:
      "WebGPU keeps the write past the end on the array's last place, which on a software device its own lane writes later.",
  },
  {
    file: "lora",
    fn: "backward_b",
    before: "if (i >= params.output_count * params.rank_count) {",
    after: "if (i > params.output_count * params.rank_count) {",
    reason: "The one more reads the zeros past the table: a tile of rank 0, which has nothing to add.",
  },
  {
    file: "lora",
    fn: "backward_x",
    before: "for (var c = 0u; c < params.column_count; c++) {",
    after: "for (var c = 0u; c <= params.column_count; c++) {",
    reason: "The one more reads the zeros past the table: a tile of no columns, which adds nothing.",
  },
  {
    file: "dora",
    fn: "four",
    before: "return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u));",
    after: "return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count + 1u));",
    reason:
      "Features past the last count 0, rows past it are not stored. The bound is there for what is not finite behind a tensor, which no test's buffer holds.",
  },
  {
    file: "dora",
    fn: "norm",
    before: "for (var k = lane * 4u; k < params.width; k += LANES * 4u) {",
    after: "for (var k = lane * 4u; k <= params.width; k += LANES * 4u) {",
    reason: "From k = width on every feature is past the last, and counts for nothing.",
  },
];
